import pickle

import pytest

import nnlib
from nnlib import nn
from nnlib.errors import ShapeError
from nnlib_backends import BackendUnavailableError


def test_unavailable_says_what_and_how_to_mend_it():
    error = BackendUnavailableError("cupy:1", "no-device", "no GPU here.", "buy one.")
    assert str(error) == "backend 'cupy:1' cannot be used: no GPU here. To fix it: buy one."
    assert (error.backend, error.reason, error.detail, error.remedy) == (
        "cupy:1", "no-device", "no GPU here.", "buy one.",
    )  # fmt: skip


def test_reason_must_be_a_known_one():
    with pytest.raises(ValueError, match="Received: 'bad-luck'"):
        BackendUnavailableError("cupy", "bad-luck", "", "")


def test_unavailable_survives_pickling():  # from a worker process to its parent
    error = BackendUnavailableError("cupy", "no-driver", "no driver.", "install it.")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.reason == "no-driver"


def test_an_error_leaves_its_module_behind():  # on its way from a worker process to its parent
    model = nn.Sequential(nn.Linear(2, 1))
    model[0].unpicklable = lambda: 0
    with pytest.raises(ShapeError) as caught:
        model(nnlib.ones(1, 3))
    error = caught.value
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.layer_path == "0"
