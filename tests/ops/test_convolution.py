import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops import table_layers

import nnlib
from nnlib import ops
from nnlib.errors import ShapeError
from nnlib_backends import load_backend

sides = st.integers(1, 3)
pairs = st.tuples(sides, sides)


@st.composite
def convolutions(draw):
    """Shapes and options that fit together."""
    groups = draw(st.integers(1, 2))
    channels, filters = groups * draw(sides), groups * draw(sides)
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    height, width = (
        max(1, (k - 1) * d + 1 - 2 * p) + draw(st.integers(0, 4))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    )
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shapes = (
        (draw(st.integers(1, 3)), height, width, channels),
        (filters, *kernel, channels // groups),
    )
    return *shapes, draw(st.booleans()), options


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.booleans())
def test_convolution_with_every_option(drawn, with_kernels):
    x_shape, w_shape, with_bias, options = drawn
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=shape) for shape in (x_shape, w_shape, w_shape[:1]))
    arguments = [x, weight, bias if with_bias else None]
    backend = load_backend("numpy")
    if with_kernels and "conv2d" in backend.kernels:
        y, _ = backend.kernels["conv2d"].forward(*arguments, **options)
    else:
        y = ops.conv2d.compute(arguments, options)
    np.testing.assert_allclose(y, table_layers.conv2d(*arguments, **options), atol=1e-10)


WRONG = [
    ((1, 4, 4, 4), (2, 3, 3, 3), {}),
    ((1, 4, 4, 3), (2, 3, 3, 4), {}),
    ((1, 4, 4, 4), (3, 3, 3, 2), {"groups": 2}),
    ((1, 2, 2, 3), (2, 3, 3, 3), {}),
]


@pytest.mark.parametrize(("x", "weight", "options"), WRONG)
def test_shapes_that_do_not_fit(x, weight, options, backend, monkeypatch):
    """The definition asks; kernels need not, for nn.functional asks before them."""
    monkeypatch.setattr(backend, "kernels", {})
    with pytest.raises(ShapeError, match="Received: float32"):
        ops.conv2d(nnlib.ones(*x), nnlib.ones(*weight), **options)


def test_first_of_equal_values_in_a_window_gets_the_gradient(backend):
    x = nnlib.ones(1, 2, 2, 1, requires_grad=True)
    ops.max_pool2d(x, size=(2, 2), stride=(2, 2)).sum().backward()
    assert x.grad.numpy().reshape(-1).tolist() == [1, 0, 0, 0]


def test_overlapping_windows_add_their_gradients(backend):
    x = nnlib.ones(1, 3, 3, 1, requires_grad=True)
    ops.avg_pool2d(x, size=(2, 2), stride=(1, 1)).sum().backward()
    expected = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    np.testing.assert_allclose(x.grad.numpy()[0, :, :, 0], expected)
