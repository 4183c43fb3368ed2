import numpy as np
import pytest
from numba import njit
from scipy import special

from nnlib_backends.numpy_backend.codegen import math
from nnlib_backends.numpy_backend.codegen.arguments import FASTMATH

with np.errstate(over="ignore"):
    RANGE = np.concatenate([
        np.linspace(-110, 95, 200_003), np.linspace(-6, 6, 200_003),
        np.geomspace(1e-45, 3e38, 50_001), -np.geomspace(1e-45, 3e38, 50_001),
    ]).astype(np.float32)  # fmt: skip
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
UNIT = np.concatenate([np.linspace(0, 1, 100_001), np.geomspace(1e-44, 1, 10_001)]).astype("f4")

FUNCTIONS = [
    ("exp", np.exp, RANGE, SPECIAL, 1.5),
    ("tanh", np.tanh, RANGE, SPECIAL, 3.5),
    ("sigmoid", special.expit, RANGE, SPECIAL, 3),
    ("ndtr", special.ndtr, RANGE, SPECIAL, 4),
    ("log", np.log, RANGE[RANGE > 0], SPECIAL, 2.5),
    ("log1p", np.log1p, UNIT, UNIT[:1], 2.5),
]


@pytest.mark.parametrize(
    ("name", "reference", "values", "ends", "allowed"), FUNCTIONS, ids=[f[0] for f in FUNCTIONS]
)
def test_error_in_units_of_the_last_place(name, reference, values, ends, allowed):
    function = getattr(math, name)

    @njit(fastmath=FASTMATH, error_model="numpy")  # as in a kernel
    def compute(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    with np.errstate(all="ignore"):
        y, expected = np.empty_like(values), reference(values.astype("f8"))
        compute(values, y)
        nearest = expected.astype(np.float32)
        finite = np.isfinite(nearest)
        np.testing.assert_array_equal(y[~finite], nearest[~finite])
        error = np.abs(y - expected)[finite] / np.spacing(np.abs(nearest[finite]))
        y = np.empty_like(ends)
        compute(ends, y)
        expected = reference(ends)
    assert error.max() < allowed
    np.testing.assert_array_equal(y, expected)


def test_bits_are_in_the_order_of_the_numbers():
    @njit
    def convert(x, bits, back):
        for i in range(x.size):
            bits[i] = math.bits_of(x[i])
            back[i] = math.float_of(bits[i])

    x = np.sort(np.concatenate([RANGE[::97], SPECIAL[:4]]))
    bits, back = np.empty(x.size, np.int32), np.empty_like(x)
    convert(x, bits, back)
    np.testing.assert_array_equal(back, x)
    assert (np.diff(bits.astype(np.int64))[np.diff(x) > 0] > 0).all()
