import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import StateError
from nnlib.nn.state_dict import misfits


@pytest.mark.parametrize(
    ("own", "value", "fits"),
    [
        ("float32", np.ones(2), True),
        ("float32", np.ones(2, "float16"), True),
        ("float32", np.ones(2, int), False),
        ("float32", np.ones(2, bool), False),
        ("int64", np.ones(2, "uint8"), True),
        ("int64", np.ones(2), False),
        ("int64", np.ones(2, bool), False),
        ("bool", np.ones(2, bool), True),
        ("bool", np.ones(2, int), False),
        ("float32", np.ones(2, complex), False),
        ("float32", np.ones((2, 1)), False),
        ("float32", [1.0, 1.0], False),
    ],
)
def test_shape_and_kind_must_fit(own, value, fits):
    texts = misfits({"x": nnlib.zeros(2, dtype=own)}, {"x": value})
    assert len(texts) == (not fits)
    assert all("x must be" in t and "of shape (2,), received" in t for t in texts.values())


def test_absent_names_are_no_misfits():
    assert misfits({"x": nnlib.zeros(2)}, {"y": 3}) == {}


def test_a_count_is_never_cut_to_an_integer():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(StateError, match=r"num_batches_tracked must be whole numbers"):
        layer.load_state_dict({"num_batches_tracked": np.array(2.7)}, strict=False)
    assert layer.num_batches_tracked.item() == 0
