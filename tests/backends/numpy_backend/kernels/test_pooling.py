"""Pooling on the CPU against its definition in float64."""

import functools

import numpy as np
import pytest
from ops.test_conformance import define

from nnlib import ops
from nnlib_backends import load_backend
from nnlib_backends.base import GradOut, anywhere
from nnlib_backends.numpy_backend.kernels.pooling import KERNELS

#: shape, size, stride, padding
CASES = [
    ((2, 8, 6, 3), (2, 2), (2, 2), (0, 0)),
    ((1, 7, 5, 33), (3, 2), (2, 1), (0, 0)),
    ((1, 6, 6, 16), (3, 3), (2, 2), (1, 1)),
    ((2, 17, 23, 40), (3, 3), (1, 1), (1, 1)),
    ((3, 8, 8, 6), (2, 2), (3, 3), (0, 0)),
    ((2, 5, 5, 7), (5, 5), (1, 1), (2, 2)),
]


@functools.cache
def example(name, number):
    """Values with many ties; options; and by the definition, result and gradient."""
    shape, size, stride, padding = CASES[number]
    x = np.random.default_rng(number).integers(0, 4, shape).astype(np.float32)
    options = {"size": size, "stride": stride, "padding": padding}
    y, (dx,) = define(getattr(ops, name), [x], options, load_backend("numpy"))
    g = np.cos(np.arange(y.size) * 1.7).reshape(y.shape).astype(np.float32)  # as `define` takes
    return x, options, g, y, dx


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: str(CASES[i]))
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_both_passes(name, number, threads, poisoned):
    x, options, g, expected, gradient = example(name, number)
    y, saved = KERNELS[name].forward(np.asfortranarray(x), **options)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    target = np.full(x.shape, np.nan, np.float32)
    (dx,) = KERNELS[name].backward(np.asfortranarray(g), saved, [GradOut(target)], x, **options)
    assert dx is target
    np.testing.assert_allclose(dx, gradient, atol=1e-6)
    assert KERNELS[name].backward(g, saved, anywhere((False,)), x, **options) == (None,)


def test_nan_is_the_maximum_and_gets_the_gradient():
    x = np.zeros((1, 2, 4, 1), np.float32)
    x[0, 1, 0], x[0, 0, 3], x[0, 1, 2] = np.nan, np.nan, 5
    options = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    y, saved = KERNELS["max_pool2d"].forward(x, **options)
    assert np.isnan(y).all()
    (dx,) = KERNELS["max_pool2d"].backward(np.ones_like(y), saved, anywhere((True,)), x, **options)
    assert dx[0, ..., 0].tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]


def test_padding_can_be_the_maximum():
    x = np.full((1, 2, 2, 1), -np.inf, np.float32)
    options = {"size": (2, 2), "stride": (1, 1), "padding": (1, 1)}
    y, saved = KERNELS["max_pool2d"].forward(x, **options)
    assert (y == -np.inf).all()
    (dx,) = KERNELS["max_pool2d"].backward(np.ones_like(y), saved, anywhere((True,)), x, **options)
    _, (expected,) = define(ops.max_pool2d, [x], options, load_backend("numpy"))
    np.testing.assert_array_equal(dx != 0, expected != 0)
