import pickle

import pytest

from nnlib_backends import BackendUnavailableError


def test_unavailable_says_what_and_how_to_mend_it():
    error = BackendUnavailableError("cupy:1", "no-device", "no GPU here.", "buy one.")
    assert str(error) == "backend 'cupy:1' cannot be used: no GPU here. To mend it: buy one."
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
