import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, LabelError, OptionError, ShapeError
from nnlib.nn import functional as F


def test_one_hot(backend, place):
    y = F.one_hot(place([[0, 2], [1, 0]]), 3)
    assert y.dtype == "int64"
    assert y.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]]]
    assert F.one_hot(place([1], "uint8"), 300, "float32").dtype == "float32"
    assert F.one_hot(place([200], "uint8"), 300).sum().item() == 1


def test_one_hot_of_bad_labels():
    with pytest.raises(LabelError, match=r"labels must be in 0 … 2. Received: values from 0 to 3"):
        F.one_hot([0, 3], 3)
    with pytest.raises(DTypeError, match="one_hot needs integer labels"):
        F.one_hot([0.0], 3)
    with pytest.raises(OptionError, match="num_classes must be at least 1"):
        F.one_hot([0], 0)


def test_linear_checks_its_parameters():
    with pytest.raises(ShapeError, match=r"\(out_features, in_features\). Received: \(3,\)"):
        F.linear([1.0, 2.0, 3.0], nnlib.ones(3))
    with pytest.raises(ShapeError, match=r"bias of linear must have shape \(2,\)"):
        F.linear(nnlib.ones(1, 3), nnlib.ones(2, 3), nnlib.ones(3))


def test_linear_applies_an_activation_that_it_knows(backend):
    x, weight = nnlib.tensor([[-3.0, -1.0, 2.0]]), nnlib.eye(3)
    for activation, function in (
        ("relu", F.relu), ("gelu_tanh", lambda z: F.gelu(z, "tanh")), ("sigmoid", F.sigmoid),
    ):  # fmt: skip
        np.testing.assert_allclose(
            F.linear(x, weight, activation=activation).numpy(), function(x).numpy(), rtol=1e-6
        )
    with pytest.raises(OptionError, match="gelu_tanh"):
        F.linear(x, weight, activation="gelu")


def test_functions_take_arrays_and_lists():
    weight = np.ones((1, 2), np.float32)
    assert F.linear([[1.0, 2.0]], nnlib.tensor(weight)).tolist() == [[3]]
    assert F.linear(np.ones((2, 2), np.float32), nnlib.tensor(weight)).tolist() == [[2], [2]]
    assert F.relu(np.array([-1.0, 1.0], np.float32)).tolist() == [0, 1]
    assert F.mse_loss(np.ones(2, np.float32), np.zeros(2)).dtype == "float32"


def test_checks_on_a_device_never_read_values():
    """There a label out of range is the user's to avoid; nothing waits for the device."""
    import strict_backend

    with nnlib.use_backend("strict"):
        labels, indices = nnlib.tensor([0, 2]), nnlib.tensor([1, 1])
        logits, table = nnlib.ones(2, 3), nnlib.ones(4, 2)
        targets = nnlib.ones(2, 3)
        with strict_backend.counting() as counts:
            F.cross_entropy(logits, labels, label_smoothing=0.1)
            F.cross_entropy(logits, labels, nnlib.full((3,), 2.0))
            F.nll_loss(logits, labels)
            F.binary_cross_entropy_with_logits(logits, targets)
            F.binary_cross_entropy(logits, targets)
            F.embedding(indices, table, padding_idx=0)
            F.one_hot(labels, 3)
            F.dropout(logits)
    assert counts.reads == 0, counts.where
