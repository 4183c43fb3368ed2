import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, OptionError
from nnlib.nn.functional import checks


def test_arrays_stay_where_they_are_and_lists_follow():
    other = nnlib.ones(2, backend="strict")
    assert checks.as_tensor(other) is other
    assert checks.as_tensor(np.ones(2), other).backend.name == "numpy"
    assert checks.as_tensor([1.0], other).backend.name == "strict"
    assert checks.as_tensor([1.0]).backend.name == "numpy"


@pytest.mark.parametrize("value", [1.5, True, "3", (1,), (1, 2, 3), (1, -1), None])
def test_pairs_are_of_integers(value):
    with pytest.raises(OptionError, match="size must be an integer ≥ 0, or a pair"):
        checks.pair(value, "size", least=0)


def test_pairs():
    assert checks.pair(2, "size") == (2, 2)
    assert checks.pair((1, 3), "size") == (1, 3)
    assert checks.pair([0, 3], "size", least=0) == (0, 3)


def test_only_floats_are_floating():
    assert checks.floating([1.0], "f").dtype == "float32"
    assert checks.floating(np.ones(1), "f").dtype == "float64"
    for bad in ([1], [True], np.ones(1, "uint8")):
        with pytest.raises(DTypeError, match="f needs floating-point values"):
            checks.floating(bad, "f")
