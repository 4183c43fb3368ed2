import numpy as np
import pytest

from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.codegen import simd
from nnlib_backends.numpy_backend.codegen.arguments import Matrix, Vector, kernel

LANES = simd.LANES
f4 = np.float32


@kernel
def arithmetic_for_test(chunk, start, stop, x: Vector, y: Vector, out: Matrix):
    a, b, two = simd.load(x, 0), simd.load(y, 0), simd.splat(f4(2.0))
    simd.store(out, 0, a * two + b - a / two)
    simd.store(out, LANES, simd.larger(a, b))
    simd.store(out, 2 * LANES, simd.relu(a))
    simd.store(out, 3 * LANES, simd.where_same(a, b, two))
    simd.store(out, 4 * LANES, simd.where_different(a, b, two))
    simd.store(out, 5 * LANES, -a + f4(1.0) - f4(2.0) * abs(b))


@kernel
def some_for_test(chunk, start, stop, x: Vector, out: Vector, count: int):
    simd.store_some(out, 0, simd.load_some(x, 0, count), stop)


@kernel
def transpose_for_test(chunk, start, stop, x: Matrix, out: Matrix):
    simd.transpose(x, 0, x.shape[1], out, 0, out.shape[1])


def test_arithmetic():
    a = np.linspace(-1, 1, LANES, dtype=f4)
    b = np.roll(a, 1)
    a[0], b[1], b[2] = np.nan, np.nan, a[2]
    a[3] = b[3] = np.nan
    a[-1], b[-2] = 0.0, -0.0
    out = np.empty((6, LANES), f4)
    launch.launch(arithmetic_for_test, a, b, out, items=1)
    np.testing.assert_allclose(out[0], a * 2 + b - a / 2, rtol=1e-6)
    np.testing.assert_array_equal(out[1], np.maximum(a, b))
    np.testing.assert_array_equal(out[2], np.where(a <= 0, 0, a))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    np.testing.assert_array_equal(out[3], np.where(same, 2, 0))
    np.testing.assert_array_equal(out[4], np.where(same, 0, 2))
    np.testing.assert_allclose(out[5], -a + 1 - 2 * np.abs(b), rtol=1e-6)


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, LANES + 5])
@pytest.mark.parametrize("read", [-3, 0, 2, LANES, LANES + 1])
def test_some_lanes(count, read):
    a, out = np.arange(1, LANES + 1, dtype=f4), np.full(LANES + 1, 7, f4)
    launch.launch(some_for_test, a, out, read, items=count)
    written = min(count, LANES)
    expected = np.where(np.arange(LANES) < read, a, 0)
    np.testing.assert_array_equal(out[:written], expected[:written])
    assert (out[written:] == 7).all()


def test_transposition():
    a = np.arange(LANES * (LANES + 3), dtype=f4).reshape(LANES, LANES + 3)
    out = np.zeros((LANES, LANES + 1), f4)
    launch.launch(transpose_for_test, a, out, items=1)
    np.testing.assert_array_equal(out[:, :LANES], a[:, :LANES].T)
    assert not out[:, LANES].any()
