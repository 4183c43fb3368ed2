import ctypes
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from nnlib_backends.errors import BackendError
from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.codegen.arguments import (
    BLAS_INTEGER,
    Bytes,
    Cube,
    Doubles,
    Integers,
    Matrix,
    Nullable,
    Quad,
    Vector,
    address,
    gemm,
    gemm_in_parts,
    is_given,
    kernel,
    view,
)
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address


class Sizes(NamedTuple):
    rows: int
    columns: int


@kernel
def scale_for_test(
    chunk, start, stop, x: Vector, y: Vector, factor: float, sizes: Integers,
    other: Nullable[Vector], first: int,
):  # fmt: skip
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = x[i] * factor
    sizes[chunk] = stop - start
    if is_given(other):
        y[0] = first


@kernel
def everything_for_test(
    chunk, start, stop, matrix: Matrix, cube: Cube, quad: Quad, doubles: Doubles, mask: Bytes,
    absent: Nullable[Matrix], sizes: Sizes, out: Vector,
):  # fmt: skip
    out[0], out[1] = matrix[1, 0], cube[1, 0, 1]
    out[2], out[3] = quad[0, 1, 0, 1], doubles[1]
    out[4], out[5] = mask[1], is_given(absent)
    out[6], out[7] = sizes.columns, view(quad, 2, (2, 2))[1, 0]


@kernel
def product_for_test(chunk, start, stop, x: Matrix, w: Matrix, y: Matrix, blas: int):
    k, n = x.shape[1], y.shape[1]
    gemm(
        blas, False, True, x.shape[0], stop - start, k, address(x, 0), k, address(w, k * start), k,
        0.0, address(y, start), n,
    )  # fmt: skip


@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_kernel_gets_its_arguments_and_its_part(chunks):
    x, y, sizes = np.arange(7, dtype=np.float32), np.zeros(7, np.float32), np.zeros(8, np.int64)
    launch.launch(scale_for_test, x, y, 0.5, sizes, None, 9, items=7, chunks=chunks)
    np.testing.assert_array_equal(y, x / 2)
    assert sizes.sum() == 7
    assert (sizes > 0).sum() == -(-7 // -(-7 // chunks))
    launch.launch(scale_for_test, x, y, 0.5, sizes, x, 9, items=7)
    assert y[0] == 9


def test_arguments_of_every_kind():
    numbers, out = np.arange(8, dtype=np.float32), np.empty(8, np.float32)
    for mask in (np.array([False, True]), np.array([0, 1], np.uint8)):
        out[:] = np.nan
        launch.launch(
            everything_for_test, numbers.reshape(2, 4), numbers.reshape(2, 2, 2),
            numbers.reshape(1, 2, 2, 2), np.array([1, 2.5]), mask, None, *Sizes(3, 9), out, items=1,
        )  # fmt: skip
        np.testing.assert_array_equal(out, [4, 5, 5, 2.5, 1, 0, 9, 4])


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [
        (0, np.zeros(7), r"x of .*scale_for_test.* must be an array of float32. Received: float64"),
        (1, None, "y of .* must be an array of float32. Received: None"),
        (2, 2, "factor of .* must be a float. Received: 2"),
        (3, np.zeros(7, np.int32), "sizes of .* must be an array of int64. Received: int32"),
        (4, 0.5, "other of .* must be an array of float32 or None. Received: 0.5"),
        (5, None, "first of .* must be an integer. Received: None"),
        (5, np.zeros(1, np.int64), "first of .* must be an integer. Received: int64"),
    ],
)
def test_what_a_kernel_does_not_declare_is_refused(position, value, what):
    x = np.zeros(7, np.float32)
    args = [x, x, 1.0, np.zeros(7, np.int64), None, 0]
    args[position] = value
    with pytest.raises(ValueError, match=what):
        launch.launch(scale_for_test, *args, items=7)
    with pytest.raises(ValueError, match="takes 6 arguments"):
        launch.launch(scale_for_test, *args[:5], items=7)


def test_an_array_of_other_axes_is_refused():
    x = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match=r"y of .* with 2 axes. Received: float32 of shape \(4,\)"):
        launch.launch(product_for_test, x, x, x.reshape(4), 0, items=2)


def test_nothing_is_called_without_items():
    empty = np.zeros(0, np.float32)
    launch.launch(scale_for_test, empty, empty, 1.0, empty, None, 0, items=0)


def test_strided_arrays_are_refused():
    x = np.zeros((4, 4), np.float32)[:, ::2]
    with pytest.raises(ValueError, match="C-contiguous"):
        launch.launch(scale_for_test, x, x, 1.0, x, None, 0, items=8)
    assert launch.dense(x).flags.c_contiguous


def test_product_on_several_threads_leaves_blas_threads_as_they_were():
    from threadpoolctl import threadpool_info

    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, 33)).astype(np.float32) for n in (5, 40))
    y = launch.empty((5, 40))
    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    launch.launch(product_for_test, x, w, y, sgemm_address(), items=40, chunks=3)
    np.testing.assert_allclose(y, x.astype("f8") @ w.T, rtol=1e-5, atol=1e-5)
    after = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    assert set(before) <= set(after)


def test_thread_count_can_be_chosen(monkeypatch):
    launch.thread_count.cache_clear()
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("NNLIB_NUM_THREADS", wrong)
        with pytest.raises(BackendError, match="positive integer"):
            launch.thread_count()
    monkeypatch.setenv("NNLIB_NUM_THREADS", "3")
    assert launch.thread_count() == 3
    assert [launch.split(n, 10) for n in (0, 9, 25, 100)] == [1, 1, 2, 3]
    launch.thread_count.cache_clear()


def test_the_variable_also_limits_numpys_own_products():
    program = """
import nnlib
from threadpoolctl import threadpool_info
nnlib.ones(2)
blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
assert blas
assert {pool["num_threads"] for pool in blas} == {1}, blas
"""
    environment = {**os.environ, "NNLIB_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@kernel
def row_for_test(chunk, start, stop, x: Vector, n: int, y: Vector, z: Nullable[Vector]):
    pass


@pytest.mark.parametrize("axes", [0, 1, 5, 6, 7, 8, 33, 64])
def test_any_number_of_axes_fits_into_a_row(axes):
    x = np.ones((1,) * (axes - 1) + (7,) * (axes > 0), np.float32)
    table = launch.make_table((x, 5, x, None), row_for_test)
    rows = np.array(table).reshape(4, launch.WORDS)
    shape = x.shape if axes <= 6 else ()
    assert rows[0].tolist() == [x.ctypes.data, *shape, *[0] * (6 - len(shape)), x.size]
    assert rows[2].tolist() == rows[0].tolist()
    assert rows[[1, 3], 0].tolist() == [5, 0]


@kernel
def product_in_parts_for_test(
    chunk, start, stop, a: int, b: int, c: int, blas: int, m: int, n: int, k: int, limit: int,
    ta: int, tb: int, lda: int, ldb: int, ldc: int, beta: float,
):  # fmt: skip
    gemm_in_parts(limit, blas, ta != 0, tb != 0, m, n, k, a, lda, b, ldb, beta, c, ldc)


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_products_larger_than_blas_allows_are_computed_in_parts(limit, beta):
    rng = np.random.default_rng(limit)
    for ta, tb in np.ndindex(2, 2):
        m, n, k = rng.integers(1, 12, 3).tolist()
        a, b, c = (
            rng.normal(size=shape).astype(np.float32)
            for shape in (
                (k, m + 2) if ta else (m, k + 2),
                (n, k + 1) if tb else (k, n + 1),
                (m, n),
            )
        )
        left, right = a.T[:m] if ta else a[:, :k], b.T[:k] if tb else b[:, :n]
        expected = left.astype("f8") @ right + beta * c
        launch.launch(
            product_in_parts_for_test, a.ctypes.data, b.ctypes.data, c.ctypes.data,
            sgemm_address(), m, n, k, limit, ta, tb, a.shape[1], b.shape[1], n, beta, items=1,
        )  # fmt: skip
        np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-5)


def test_sum_over_no_products_is_zero():
    c = np.full((2, 3), np.nan, np.float32)
    nothing = np.zeros(0, np.float32).ctypes.data
    launch.launch(
        product_in_parts_for_test, nothing, nothing, c.ctypes.data, sgemm_address(), 2, 3, 0, 100,
        0, 1, 0, 0, 3, 0.0, items=1,
    )  # fmt: skip
    assert not c.any()


def tall_column(rows, piece=1 << 24):
    """Address of so many float32 numbers; all but the last ones are the same memory, repeated."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_longlong
    ]  # fmt: skip
    shared, fixed, private_anonymous = 0x01, 0x10, 0x22
    file = os.memfd_create("column")
    os.ftruncate(file, 4 * piece)
    start = libc.mmap(None, 4 * rows, 3, private_anonymous | 0x4000, -1, 0)
    for first in range(0, rows - 2 * piece, piece):
        libc.mmap(start + 4 * first, 4 * piece, 3, shared | fixed, file, 0)
    os.close(file)
    return start


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory is repeated as Linux does it")
def test_product_of_more_rows_than_a_blas_integer_counts():
    rows = BLAS_INTEGER + 20
    x, y, w = tall_column(rows), tall_column(rows), np.full(1, 3, np.float32)
    last = [
        np.ctypeslib.as_array((ctypes.c_float * 40).from_address(column + 4 * (rows - 40)))
        for column in (x, y)
    ]
    last[0][:] = np.arange(40)
    launch.launch(
        product_in_parts_for_test, x, w.ctypes.data, y, sgemm_address(), rows, 1, 1,
        BLAS_INTEGER, 0, 1, 1, 1, 1, 0.0, items=1,
    )  # fmt: skip
    np.testing.assert_array_equal(last[1], 3 * np.arange(40))
