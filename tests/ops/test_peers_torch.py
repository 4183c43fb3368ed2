"""Values and gradients against PyTorch (CPU, float64), on shapes drawn by hypothesis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.table import peer

import nnlib
from nnlib import ops

pytestmark = pytest.mark.peers
torch, F = peer("torch"), peer("torch.nn.functional")

few = settings(max_examples=40, deadline=None)
sizes = st.integers(1, 4)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def agree(ours, theirs, arrays, tolerance=1e-10):
    """Compare value and gradients of two functions of the same arrays."""
    mine = [nnlib.tensor(x, requires_grad=True) for x in arrays]
    peers = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = ours(*mine), theirs(*peers)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    slope = np.cos(np.arange(y.size)).reshape(y.shape)
    y.backward(slope)
    z.backward(torch.tensor(slope))
    for x, p in zip(mine, peers, strict=True):
        if p.grad is None:
            assert x.grad is None
        else:
            np.testing.assert_allclose(
                x.grad.numpy(), p.grad.numpy(), rtol=tolerance, atol=tolerance
            )


PLAIN = ["abs", "exp", "expm1", "erf", "tanh", "sinh", "cosh", "sin", "cos", "square", "negative"]
ACTIVATIONS = [*ops.activation.__all__, "sigmoid"]


@pytest.mark.parametrize("name", PLAIN + ACTIVATIONS)
@few
@given(shape=shapes, seed=seeds)
def test_elementwise(name, shape, seed):
    (x,) = draw(seed, shape)
    theirs = getattr(torch if name in PLAIN else F, name, None) or pytest.skip("not in PyTorch")
    # PyTorch's softplus is x itself beyond 20, its hardsigmoid has 1/6 in float32
    agree(
        getattr(ops, name), theirs, [3 * x], 1e-7 if name in ("softplus", "hardsigmoid") else 1e-10
    )


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p"])
@few
@given(shape=shapes, seed=seeds)
def test_elementwise_of_positive_values(name, shape, seed):
    (x,) = draw(seed, shape)
    agree(getattr(ops, name), getattr(torch, name), [np.abs(x) + 0.01])


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp"]
)
@few
@given(data=st.data(), shape=shapes, seed=seeds)
def test_two_arguments_with_broadcasting(name, data, shape, seed):
    """The second shape has some axes of size 1, and lacks some at the front."""
    other = tuple(data.draw(st.sampled_from([1, n])) for n in shape)
    other = other[data.draw(st.integers(0, len(shape))) :]
    a, b = draw(seed, shape, other)
    agree(getattr(ops, name), getattr(torch, name), [a, b])
    agree(getattr(ops, name), getattr(torch, name), [b, a])


@pytest.mark.parametrize("exponent", [-1, 0, 0.5, 1, 2, 3])
def test_power(exponent):
    agree(lambda x: x**exponent, lambda x: x**exponent, [np.array([0.5, 1.0, 2.0])])
    if exponent >= 0 and exponent != 0.5:
        agree(lambda x: x**exponent, lambda x: x**exponent, [np.array([0.0, -1.5])])
    agree(ops.power, torch.pow, [np.array([0.5, 2.0]), np.array([[1.5], [-0.5]])])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_between_two(name):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 3.0])
    agree(getattr(ops, name), getattr(torch, name), [a, b])


@pytest.mark.parametrize(("ours", "theirs"), [("max", "amax"), ("min", "amin")])
def test_ties_along_an_axis(ours, theirs):
    x = np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0], [5.0, 5.0, 5.0]])
    for axis in (0, 1):
        agree(
            lambda x, axis=axis: getattr(x, ours)(axis),
            lambda x, axis=axis: getattr(torch, theirs)(x, axis),
            [x],
        )
    agree(lambda x: getattr(x, ours)(), lambda x: getattr(torch, theirs)(x), [x])


@st.composite
def products(draw):
    m, k, n = draw(sizes), draw(st.integers(0, 4)), draw(sizes)
    batch = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    thinner = tuple(draw(st.sampled_from([1, size])) for size in batch)
    thinner = thinner[draw(st.integers(0, len(thinner))) :]
    left, right = draw(st.sampled_from([(batch, thinner), (thinner, batch), (batch, batch)]))
    a = draw(st.sampled_from([(k,), (*left, m, k)]))
    b = draw(st.sampled_from([(k,), (*right, k, n)]))
    return a, b


@settings(max_examples=150, deadline=None)
@given(products(), seeds)
def test_matmul(pair, seed):
    agree(ops.matmul, torch.matmul, draw(seed, *pair))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "logsumexp", "var", "std"])
@few
@given(data=st.data(), seed=seeds)
def test_reductions(name, keepdims, data, seed):
    shape = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple))
    axes = data.draw(
        st.lists(st.integers(-len(shape), len(shape) - 1), min_size=1, max_size=3,
                 unique_by=lambda axis: axis % len(shape)).map(tuple)
    )  # fmt: skip
    ours = getattr(ops, {"amax": "max", "amin": "min"}.get(name, name))
    options = {"correction": 0} if name in ("var", "std") else {}
    agree(
        lambda x: ours(x, axis=axes, keepdims=keepdims),
        lambda x: getattr(torch, name)(x, dim=axes, keepdim=keepdims, **options),
        draw(seed, shape),
        1e-9,
    )


@few
@given(st.integers(1, 4), st.integers(1, 4), seeds)
def test_product_and_running_sum(m, n, seed):
    (x,) = draw(seed, (m, n))
    x[np.random.default_rng(seed).random((m, n)) < 0.2] = 0
    agree(lambda x: ops.prod(x, axis=1), lambda x: torch.prod(x, 1), [x])
    agree(ops.prod, torch.prod, [x])
    agree(lambda x: ops.cumsum(x, axis=0), lambda x: torch.cumsum(x, 0), [x])


@few
@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([0, 1, -1]), seeds)
def test_softmax(m, n, axis, seed):
    (x,) = draw(seed, (m, n))
    agree(lambda x: ops.softmax(x, axis=axis), lambda x: torch.softmax(x, axis), [9 * x])
    agree(lambda x: ops.log_softmax(x, axis=axis), lambda x: torch.log_softmax(x, axis), [9 * x])


KEYS = [
    2, -1, slice(1, 3), slice(None, None, 2), None, ..., (..., 0), (0, slice(None), None),
    (slice(None), [0, 0, 1]), ([0, 3, 0], [1, 1, 1]), np.array([[0, 1], [3, 3]]), (None, [0, 0]),
    ([0, 1, 1], ..., [2, 0, 2]), np.arange(4) > 1, np.arange(12).reshape(4, 3) % 5 == 0,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_indexing(key):
    agree(lambda x: x[key], lambda x: x[key], draw(1, (4, 3, 3)))


def nchw(x):
    return x.permute(0, 3, 1, 2)


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(sizes), groups * draw(sizes)
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    sides = [
        max(1, (k - 1) * d + 1 - 2 * p) + draw(st.integers(0, 5))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (draw(sizes), *sides, channels), (filters, *kernel, channels // groups), options


@settings(max_examples=80, deadline=None)
@given(convolutions(), seeds)
def test_conv2d(drawn, seed):
    x_shape, w_shape, options = drawn
    agree(
        lambda x, w, b: ops.conv2d(x, w, b, **options),
        lambda x, w, b: F.conv2d(nchw(x), nchw(w), b, **options).permute(0, 2, 3, 1),
        draw(seed, x_shape, w_shape, w_shape[:1]),
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=seeds)
def test_pooling(data, seed):
    size = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in size)
    sides = [k + data.draw(st.integers(0, 4)) for k in size]
    options = {"stride": stride, "padding": padding}
    (x,) = draw(seed, (data.draw(sizes), *sides, data.draw(sizes)))
    for values in (x, np.round(x)):  # rounded: equal values in a window
        agree(
            lambda x: ops.max_pool2d(x, size=size, **options),
            lambda x: F.max_pool2d(nchw(x), size, **options).permute(0, 2, 3, 1),
            [values],
        )
        agree(
            lambda x: ops.avg_pool2d(x, size=size, **options),
            lambda x: F.avg_pool2d(nchw(x), size, **options).permute(0, 2, 3, 1),
            [values],
        )


@few
@given(st.integers(1, 5), st.integers(2, 6), seeds)
def test_normalisations(n, d, seed):
    x, w, b = draw(seed, (n + 1, d), (d,), (d,))
    agree(ops.layer_norm, lambda x, w, b: F.layer_norm(x, (d,), w, b), [x, w, b], 1e-8)
    agree(ops.rms_norm, lambda x, w: F.rms_norm(x, (d,), w, 1e-6), [x, w], 1e-8)
    agree(
        ops.batch_norm,
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        [x, w, b],
        1e-7,
    )


@few
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_cross_entropies(n, c, seed):
    logits, targets = draw(seed, (n, c), (n, c))
    labels = np.random.default_rng(seed).integers(0, c, n)
    agree(
        lambda x: ops.softmax_cross_entropy(x, nnlib.tensor(labels)),
        lambda x: F.cross_entropy(x, torch.tensor(labels), reduction="none"),
        [10 * logits],
    )
    agree(
        ops.sigmoid_cross_entropy,
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
        [10 * logits, 1 / (1 + np.exp(-targets))],
    )
