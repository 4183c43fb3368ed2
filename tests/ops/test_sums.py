"""Sums of millions of float32 numbers: right to 1e-6, along an axis and across, in every way."""

import numpy as np
import pytest

import nnlib
from nnlib import nn, ops, optim
from nnlib.nn import functional as F
from nnlib_backends import load_backend
from nnlib_backends.numpy_backend import kernel_choice

MANY = 1_000_000


@pytest.fixture(params=["compiled", "general"], autouse=True)
def how(request, monkeypatch):
    """The backend with compiled kernels, and with those in terms of NumPy."""
    backend = load_backend("numpy")
    if request.param != "compiled":
        monkeypatch.setattr(backend, "kernels", kernel_choice.general_kernels())
        monkeypatch.setattr(backend, "primitives", {})
        monkeypatch.setattr(backend, "updates", {})
    return request.param


def draw(*shape, spread=1.0):
    rng = np.random.default_rng(5)
    return (100 + rng.normal(size=shape) * spread).astype(np.float32)


def close(found, expected, rtol=1e-6):
    found = found.detach().numpy() if isinstance(found, nnlib.Tensor) else found
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((2, MANY), 1), ((MANY, 2), 0), ((2 * MANY,), 0), ((2, MANY), None), ((20_000, 100), 0),
        ((2, MANY // 2, 2), 1), ((1000, 2, 1000), (0, 2)), ((2, 1000, 1000, 1), (1, 2)),
        ((MANY // 2, 2, 2), (0, 1)), ((3, 4100, 3), 0),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std"])
def test_reduction(name, shape, axis):
    x = draw(*shape)
    expected = getattr(np, name)(x.astype("f8"), axis=axis)
    close(getattr(ops, name)(nnlib.tensor(x), axis=axis), expected)
    close(getattr(ops, name)(nnlib.tensor(np.asfortranarray(x)), axis=axis), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_logsumexp_and_softmax(axis):
    x = np.zeros((MANY, 2) if axis == 0 else (2, MANY), np.float32)
    x += np.float32(0.3) * (np.arange(MANY) % 2).reshape((-1, 1) if axis == 0 else (1, -1))
    wide = x.astype("f8")
    total = np.exp(wide).sum(axis=axis, keepdims=True)
    close(ops.logsumexp(nnlib.tensor(x), axis=axis, keepdims=True), np.log(total))
    close(ops.softmax(nnlib.tensor(x), axis=axis), np.exp(wide) / total)
    close(ops.log_softmax(nnlib.tensor(x), axis=axis), wide - np.log(total))


def test_cumulative_sum_and_product():
    x = draw(2, MANY)
    close(ops.cumsum(nnlib.tensor(x), axis=1), x.cumsum(axis=1, dtype="f8"))
    near = 1 + (x - 100) * np.float32(1e-4)
    close(ops.prod(nnlib.tensor(near), axis=1), near.prod(axis=1, dtype="f8"))


def test_broadcasting_undone():
    x, g = nnlib.zeros(2, 1, requires_grad=True), draw(MANY, 2, 2)
    (x + nnlib.zeros(MANY, 2, 2)).backward(nnlib.tensor(g))
    close(x.grad, g.sum(axis=(0, 2), dtype="f8")[:, None])


@pytest.mark.parametrize("activation", [None, "relu"])
def test_bias_gradients_of_layers(activation):
    g = draw(MANY, 2)
    x, weight = nnlib.ones(MANY, 1), nnlib.ones(2, 1)
    bias = nnlib.zeros(2, requires_grad=True)
    ops.linear(x, weight, bias, activation=activation).backward(nnlib.tensor(g))
    close(bias.grad, g.sum(axis=0, dtype="f8"))
    bias = nnlib.zeros(2, requires_grad=True)
    y = F.conv2d(x.reshape(4, 500, 500, 1), nnlib.ones(2, 1, 1, 1), bias)
    y.backward(nnlib.tensor(g.reshape(4, 500, 500, 2)))
    close(bias.grad, g.sum(axis=0, dtype="f8"))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_bias_gradients_of_recurrent_layers(kind):
    g, gradients = draw(20_000, 1, 2), []
    for dtype in ("float32", "float64"):
        nnlib.manual_seed(0)
        layer = kind(1, 2)
        for p in layer.parameters():
            p.data = p.data.astype(dtype)
        y, _ = layer(nnlib.zeros(20_000, 1, 1, dtype=dtype))
        y.backward(nnlib.tensor(g.astype(dtype)))
        gradients.append([layer.bias_ih_l0.grad.numpy(), layer.bias_hh_l0.grad.numpy()])
    for found, expected in zip(*gradients, strict=True):
        close(found, expected, 2e-6)  # the gates are rounded, too


def test_peephole_gradients():
    rng, g, gradients = np.random.default_rng(0), draw(2, 20_000, 2, 2), []
    arrays = [rng.normal(size=s) * 0.1 for s in ((20_000, 2, 1), (8, 1), (8, 2), (6,))]
    for dtype in ("float32", "float64"):
        x, w, r, peepholes = (nnlib.tensor(a.astype("f4").astype(dtype)) for a in arrays)
        peepholes.requires_grad = True
        ops.lstm(x, w, r, peepholes=peepholes).backward(nnlib.tensor(g.astype(dtype)))
        gradients.append(peepholes.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=2e-6)


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "batch_norm"])
def test_gradients_of_scale_and_shift(name):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(MANY // 8, 4)).astype("f4"), draw(MANY // 8, 4)

    def gradients(dtype):
        learned = [nnlib.ones(4, dtype=dtype, requires_grad=True) for _ in "wb"]
        learned = learned[: 1 if name == "rms_norm" else 2]
        y = getattr(ops, name)(nnlib.tensor((x + 1).astype(dtype)), *learned)
        y.backward(nnlib.tensor(g.astype(dtype)))
        return [p.grad.numpy() for p in learned]

    for found, expected in zip(gradients("float32"), gradients("float64"), strict=True):
        scale = np.abs(g).sum(dtype="f8") / 4  # what is added has both signs
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-6)


def test_norms_of_long_rows():
    x = draw(2, MANY, spread=0.3)
    wide = x.astype("f8")
    mean, deviation = wide.mean(axis=1, keepdims=True), wide.std(axis=1, keepdims=True)
    found = F.layer_norm(nnlib.tensor(x), MANY, eps=0.0).numpy()
    np.testing.assert_allclose(found, (wide - mean) / deviation, atol=5e-5)
    close(F.rms_norm(nnlib.tensor(x), MANY), wide / np.sqrt((wide**2).mean(1, keepdims=True)))


def test_statistics_of_batch_norm():
    x = draw(2, 500, 1000, 2, spread=0.3)
    wide = x.astype("f8")
    layer = nn.BatchNorm2d(2, momentum=1.0, eps=0.0)
    y = layer(nnlib.tensor(x)).detach().numpy()
    close(layer.running_mean, wide.mean(axis=(0, 1, 2)))
    close(layer.running_var, wide.var(axis=(0, 1, 2), ddof=1))
    normal = (wide - wide.mean(axis=(0, 1, 2))) / wide.std(axis=(0, 1, 2))
    np.testing.assert_allclose(y, normal, atol=5e-5)
    layer = nn.GroupNorm(2, 4, eps=0.0)
    x = x.reshape(1, -1, 4)
    groups = x.reshape(-1, 2, 2).astype("f8")
    normal = (groups - groups.mean((0, 2), keepdims=True)) / groups.std((0, 2), keepdims=True)
    found = layer(nnlib.tensor(x)).detach().numpy().reshape(normal.shape)
    np.testing.assert_allclose(found, normal, atol=5e-5)


def test_gradients_of_places_that_are_named_often():
    g, indices = draw(MANY // 8, 4), np.arange(MANY // 8) % 3 // 2  # two thirds name the first
    expected = [g[indices == k].sum(axis=0, dtype="f8") for k in range(2)] + [np.zeros(4)]
    table = nnlib.zeros(3, 4, requires_grad=True)
    F.embedding(nnlib.tensor(indices), table).backward(nnlib.tensor(g))
    close(table.grad, expected)
    table.grad = None
    table[nnlib.tensor(indices)].backward(nnlib.tensor(g))
    close(table.grad, expected)


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_norm_of_all_gradients(norm_type):
    w, b = nnlib.zeros(MANY, 2, requires_grad=True), nnlib.zeros(3, requires_grad=True)
    w.grad, b.grad = nnlib.tensor(draw(MANY, 2)), nnlib.tensor(draw(3))
    wide = np.concatenate([p.grad.numpy().ravel().astype("f8") for p in (w, b)])
    expected = np.linalg.norm(wide, norm_type)
    close(optim.clip_grad_norm_([w, b], 1.0, norm_type=norm_type), expected)
    close(w.grad, wide[:-3].reshape(MANY, 2) / expected)


def test_norm_of_huge_and_tiny_gradients():
    w = nnlib.zeros(1000, requires_grad=True)
    for size in (1e30, 1e-30):
        w.grad = nnlib.full((1000,), size)
        close(optim.clip_grad_norm_([w], 1.0), 1000**0.5 * size)


def test_losses_are_means_of_many():
    x = draw(MANY, 2)
    close(F.l1_loss(nnlib.tensor(x), nnlib.zeros(MANY, 2)), x.mean(dtype="f8"))
    close(F.mse_loss(nnlib.tensor(x), nnlib.zeros(MANY, 2)), (x.astype("f8") ** 2).mean())
    logits = nnlib.tensor(np.zeros((2, MANY), np.float32))
    close(F.cross_entropy(logits, nnlib.tensor([0, 1])), np.log(MANY))
