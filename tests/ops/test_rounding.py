import numpy as np
import pytest

import nnlib

TRUTHS = [True, False, True]


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "round"])
def test_truth_values_stay_truth_values(name, backend):
    x = nnlib.tensor(np.array(TRUTHS), backend=backend)
    y = getattr(nnlib, name)(x)
    assert y.dtype == "bool"
    assert y.numpy().tolist() == TRUTHS


@pytest.mark.parametrize(("decimals", "expected"), [(2, TRUTHS), (-1, [False] * 3)])
def test_decimals_of_truth_values(decimals, expected, backend):
    x = nnlib.tensor(np.array(TRUTHS), backend=backend)
    assert nnlib.round(x, decimals=decimals).numpy().tolist() == expected
