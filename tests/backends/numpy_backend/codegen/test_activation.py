import numpy as np
import pytest
from scipy import special

from nnlib_backends.numpy_backend.codegen.activation import activate_all

EXACT = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sigmoid": special.expit}
EVERYWHERE = np.concatenate(
    [
        np.linspace(-12, 12, 100_003),
        np.linspace(-110, 110, 100_003),
        np.logspace(-45, 38, 10_000),
        -np.logspace(-45, 38, 10_000),
        [0, np.inf, -np.inf, np.nan, 1e-45, -1e-45],
    ]
).astype(np.float32)


@pytest.mark.parametrize("activation", EXACT)
def test_against_float64(activation, threads):
    y = EVERYWHERE.copy()
    activate_all(y, activation)
    expected = EXACT[activation](EVERYWHERE.astype(np.float64))
    if activation == "relu":
        np.testing.assert_array_equal(y, expected)
    else:
        ulp = np.spacing(np.abs(expected).astype(np.float32))
        assert np.nanmax(np.abs(y - expected) / ulp) < 4
    np.testing.assert_array_equal(np.isnan(y), np.isnan(EVERYWHERE))
