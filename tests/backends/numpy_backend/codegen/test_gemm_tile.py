import numpy as np
import pytest

from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.codegen.arguments import address, integer, kernel
from nnlib_backends.numpy_backend.codegen.gemm_tile import multiply, multiply_address


@kernel
def tile_product_for_test(t, chunk, start, stop):
    multiply(
        integer(t, 3), integer(t, 4), integer(t, 5), integer(t, 6), address(t, 0), integer(t, 7),
        integer(t, 8), address(t, 1), integer(t, 9), address(t, 2), integer(t, 10), integer(t, 11),
    )  # fmt: skip


@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 16, 1), (4, 64, 5), (7, 33, 3), (3, 5, 8), (9, 80, 2), (16, 200, 17)]
)
def test_product(m, n, k, transposed, add):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    c = rng.standard_normal((m, n + 3))
    left = np.ascontiguousarray(a.T if transposed else a, np.float32)
    right = np.pad(b, ((0, 0), (0, 2)), constant_values=np.nan).astype(np.float32)
    result = c.astype(np.float32)
    row, step = (1, m) if transposed else (k, 1)
    launch.launch(
        tile_product_for_test, left, right, result, multiply_address(), m, n, k, row, step, n + 2,
        n + 3, add, items=1,
    )  # fmt: skip
    np.testing.assert_allclose(result[:, :n], a @ b + add * c[:, :n], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(result[:, n:], c[:, n:].astype(np.float32))


def test_numbers_that_are_none_stay_so():
    """NaN and infinities of one row of the left matrix are in that row of the result only."""
    a, b = np.ones((5, 2), np.float32), np.ones((2, 16), np.float32)
    a[1, 0], a[2, 0] = np.nan, np.inf
    result = launch.empty((5, 16))
    launch.launch(
        tile_product_for_test, a, b, result, multiply_address(), 5, 16, 2, 2, 1, 16, 16, 0, items=1
    )
    assert np.isnan(result[1]).all()
    assert (result[2] == np.inf).all()
    assert (result[[0, 3, 4]] == 2).all()
