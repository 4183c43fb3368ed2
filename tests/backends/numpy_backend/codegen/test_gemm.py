import numpy as np
import pytest

from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.codegen.arguments import Integers, Matrix, Vector, address, kernel
from nnlib_backends.numpy_backend.codegen.gemm import (
    TALL,
    multiply,
    multiply_address,
    multiply_panel,
    multiply_panel_address,
)
from nnlib_backends.numpy_backend.codegen.simd import LANES


@kernel
def panel_for_test(
    chunk, start, stop, function: int, rows: int, vectors: int, a: Vector, row: int, step: int,
    a_pieces: Integers, b: Vector, b_step: int, b_pieces: Integers, pieces: int, length: int,
    c: Matrix, c_row: int, add: int,
):  # fmt: skip
    multiply_panel(
        function, rows, vectors, address(a, 0), row, step, address(a_pieces, 0), address(b, 0),
        b_step, address(b_pieces, 0), pieces, length, address(c, 0), c_row, add,
    )  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("vectors", [1, 2])
def test_products_of_every_height(vectors, turned):
    rng, length, pieces, width = np.random.default_rng(0), 3, 2, vectors * LANES
    for rows in (*range(1, 2 * TALL + 2), 5 * TALL):
        a = rng.standard_normal((rows, pieces, length)).astype(np.float32)
        b = rng.standard_normal((pieces, length, width)).astype(np.float32)
        expected = np.einsum("ipl,plj->ij", a, b)
        if turned:  # a column after the other
            a = np.ascontiguousarray(a.transpose(1, 2, 0))
        row, step, piece = (1, rows, rows * length) if turned else (6, 1, 3)
        c = np.ones((rows, width), np.float32)
        for add in (0, 1):
            launch.launch(
                panel_for_test, multiply_panel_address(), rows, vectors, a, row, step,
                np.array([0, piece]), b, width, np.array([0, width * length]), pieces,
                length, c, width, add, items=1,
            )  # fmt: skip
            np.testing.assert_allclose(c, (1 + add) * expected, rtol=1e-4, atol=1e-5)


def test_an_empty_sum_is_zero():
    c, table = np.ones((5, LANES), np.float32), np.zeros(1, np.int64)
    launch.launch(
        panel_for_test, multiply_panel_address(), 5, 1, c, 1, 1, table, c, 1, table, 0, 7, c,
        LANES, 0, items=1,
    )  # fmt: skip
    assert not c.any()


@kernel
def matrices_for_test(
    chunk, start, stop, a: Matrix, b: Matrix, c: Matrix, tile: int, m: int, n: int, k: int,
    row: int, step: int, ldb: int, ldc: int, add: int,
):  # fmt: skip
    multiply(tile, m, n, k, address(a, 0), row, step, address(b, 0), ldb, address(c, 0), ldc, add)


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
        matrices_for_test, left, right, result, multiply_address(), m, n, k, row, step, n + 2,
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
        matrices_for_test,
        a,
        b,
        result,
        multiply_address(),
        5,
        16,
        2,
        2,
        1,
        16,
        16,
        0,
        items=1,
    )
    assert np.isnan(result[1]).all()
    assert (result[2] == np.inf).all()
    assert (result[[0, 3, 4]] == 2).all()
