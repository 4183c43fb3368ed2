import math

import numpy as np
import pytest

import nnlib
from nnlib.arguments import positive_integer
from nnlib.errors import OptionError
from nnlib.optim.options import Range


def test_numbers_in_range_become_python_floats():
    for value in (0, 0.5, 1, np.float32(0.5), np.float64(0.5), np.int64(1)):
        checked = Range(0.0, 1.0).check("momentum", value)
        assert type(checked) is float
        assert checked == value


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None, [0.5], 1j])
def test_everything_else_is_refused(value):
    with pytest.raises(OptionError, match=r"momentum must be a number in 0 … 1\. Received: "):
        Range(0.0, 1.0).check("momentum", value)


def test_an_excluded_end():
    assert Range(0.0, 1.0, below=True).check("betas", 0.0) == 0.0
    with pytest.raises(OptionError, match=r"betas must be a number in 0 … 1 \(excluded\)"):
        Range(0.0, 1.0, below=True).check("betas", 1.0)


def test_no_upper_end_but_finite():
    assert Range().check("lr", 1e30) == 1e30
    with pytest.raises(OptionError, match=r"lr must be a number >= 0\. Received: inf"):
        Range().check("lr", math.inf)


def test_a_tensor_is_refused_because_it_would_be_read_from_the_device(backend):
    with pytest.raises(OptionError):
        Range().check("lr", nnlib.tensor(0.1))


def test_positive_integers():
    assert positive_integer("step_size", 3) == 3
    for value in (0, -1, 1.0, True, "3", None):
        with pytest.raises(OptionError, match="step_size must be a positive integer"):
            positive_integer("step_size", value)
