"""Softmax and its logarithm, primitives with kernels of their own."""

import numpy as np
import pytest
from emulation.arguments import placed

import nnlib
from nnlib import ops

NAMES = ["softmax", "log_softmax"]
SHAPES = [(7, 1), (7, 31), (64, 33), (3, 2, 32), (5,), (2, 1025), (2, 1100)]


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("name", NAMES)
def test_kernel_agrees_with_the_definition(name, dtype, tolerance, shape, offset, backend):
    operation, kernel = getattr(ops, name), backend.primitives[name]
    x, g = (4 * np.random.default_rng(i).normal(size=shape).astype(dtype) for i in range(2))
    expected = operation.function(np, x.astype("f8"), axis=-1)
    y = kernel.forward(placed(backend, x, dtype, offset), axis=len(shape) - 1)
    dx = kernel.rules["x"](placed(backend, g, dtype, offset), y, -1)
    wanted = operation.rules["x"].function(g.astype("f8"), expected, -1)
    assert y.dtype == dx.dtype == dtype
    for ours, exact in ((y, expected), (dx, wanted)):
        limit = tolerance * max(1, np.abs(exact).max())
        np.testing.assert_allclose(backend.to_numpy(ours), exact, rtol=0, atol=limit)


@pytest.mark.parametrize("columns", [40, 1100])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_masked_extreme_and_not_finite_numbers(name, columns, backend):
    x = np.random.default_rng(0).normal(size=(6, columns)).astype("f4")
    x[0, 1:] = -np.inf  # a causal mask's first row
    x[1, : columns // 2] = -np.inf
    x[2] += 1e6
    x[3, 2], x[4, 5], x[5] = np.nan, np.inf, -np.inf
    expected = getattr(ops, name).function(np, x.astype("f8"), axis=-1)
    y = backend.to_numpy(backend.primitives[name].forward(backend.asarray(x)))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_kernel_is_declined(name, emulated):
    kernel, x = emulated.primitives[name], emulated.asarray(np.ones((3, 4), "f4"))
    for other, axis in ((x, 0), (x, (0, 1)), (x, None), (x[:0], -1), (x[0, 0], -1), (1.5, -1)):
        assert kernel.forward(other, axis=axis) is NotImplemented
    assert kernel.rules["x"](x, x, 0) is NotImplemented
    assert kernel.rules["x"](x.astype("f8"), x, 1) is NotImplemented
    assert not emulated.driver.log


@pytest.mark.parametrize("name", NAMES)
def test_tensors_use_the_kernels(name, emulated):
    x = nnlib.tensor(np.random.default_rng(0).normal(size=(3, 4)).astype("f4"), requires_grad=True)
    (getattr(ops, name)(x) ** 2).sum().backward()
    used = [entry[0] for entry in emulated.driver.log]
    assert used == [f"{name}_forward_warp", f"{name}_backward_warp"]
    y = getattr(ops, name)(x.numpy().astype("f8"))
    wanted = getattr(ops, name).rules["x"].function(2 * y, y, -1)
    np.testing.assert_allclose(x.grad.numpy(), wanted, atol=1e-6)
