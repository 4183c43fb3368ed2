import numpy as np
import pytest

import nnlib
from nnlib.errors import OptionError
from nnlib.models import sample

LOGITS = np.log([0.5, 0.25, 0.15, 0.1]).astype("float32")


def frequencies(**options):
    tokens = sample(nnlib.tensor(np.tile(LOGITS, (20000, 1))), **options).numpy()
    return np.bincount(tokens, minlength=4) / 20000


def test_temperature():
    np.testing.assert_allclose(frequencies(), np.exp(LOGITS), atol=0.015)
    hot = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum()
    np.testing.assert_allclose(frequencies(temperature=2.0), hot, atol=0.015)
    assert frequencies(temperature=0)[0] == 1


def test_only_the_likeliest():
    np.testing.assert_allclose(frequencies(top_k=2), [2 / 3, 1 / 3, 0, 0], atol=0.015)
    np.testing.assert_allclose(frequencies(top_k=9), np.exp(LOGITS), atol=0.015)
    np.testing.assert_allclose(frequencies(top_p=0.7), [2 / 3, 1 / 3, 0, 0], atol=0.015)
    np.testing.assert_allclose(frequencies(top_p=0.76), [5 / 9, 2.5 / 9, 1.5 / 9, 0], atol=0.015)
    assert frequencies(top_p=1e-6)[0] == 1
    assert frequencies(top_k=1)[0] == 1


def test_order_of_the_logits_does_not_matter():
    tokens = sample(nnlib.tensor(np.tile(LOGITS[::-1].copy(), (500, 1))), top_k=1).numpy()
    assert (tokens == 3).all()


def test_every_backend(backend):
    logits = nnlib.tensor(np.tile(LOGITS, (8, 1)), backend=backend)
    tokens = sample(logits, 0.7, top_k=3, top_p=0.9)
    assert tokens.shape == (8,)
    assert set(tokens.numpy()) <= {0, 1, 2}


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0}, {"top_p": 2}],
    ids=str,
)
def test_options_are_checked(options):
    with pytest.raises(OptionError):
        sample([[0.0, 1.0]], **options)
