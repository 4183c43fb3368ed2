import numpy as np
import pytest

from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.codegen.arguments import address, integer, kernel
from nnlib_backends.numpy_backend.codegen.gemm import TALL, multiply, multiply_address
from nnlib_backends.numpy_backend.codegen.simd import LANES


@kernel
def multiply_for_test(t, chunk, start, stop):
    multiply(
        integer(t, 0), integer(t, 1), integer(t, 2), address(t, 3), integer(t, 4), integer(t, 5),
        address(t, 6), address(t, 7), integer(t, 8), address(t, 9), integer(t, 10), integer(t, 11),
        address(t, 12), integer(t, 13), integer(t, 14),
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
        row, step, piece = (4, 4 * rows, 4 * rows * length) if turned else (24, 4, 12)
        c = np.ones((rows, width), np.float32)
        for add in (0, 1):
            launch.launch(
                multiply_for_test, multiply_address(), rows, vectors, a, row, step,
                np.array([0, piece]), b, 4 * width, np.array([0, 4 * width * length]), pieces,
                length, c, 4 * width, add, items=1,
            )  # fmt: skip
            np.testing.assert_allclose(c, (1 + add) * expected, rtol=1e-4, atol=1e-5)


def test_an_empty_sum_is_zero():
    c, table = np.ones((5, LANES), np.float32), np.zeros(1, np.int64)
    launch.launch(
        multiply_for_test, multiply_address(), 5, 1, c, 4, 4, table, c, 4, table, 0, 7, c,
        4 * LANES, 0, items=1,
    )  # fmt: skip
    assert not c.any()
