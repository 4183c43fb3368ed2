"""Small models and data for the tests of training."""

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.train import Trainer


@pytest.fixture
def points():
    """Three classes of points, 50 of 4 features, that a small network can tell apart."""
    rng = np.random.default_rng(0)
    y = np.arange(50) % 3
    x = rng.normal(size=(50, 4)).astype(np.float32) + 2 * np.eye(3, 4, dtype=np.float32)[y]
    return x, y


@pytest.fixture
def make_trainer():
    """A function that makes a trainer of a small network with dropout, always the same."""

    def make(*, model=None, lr=0.05, optimizer=None, **options):
        nnlib.manual_seed(7)
        if model is None:
            model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
        optimizer = (optimizer or optim.Adam)(model.parameters(), lr=lr)
        options = {"progress": False, "metrics": ["accuracy"], **options}
        return Trainer(model, options.pop("loss", "cross_entropy"), optimizer, **options)

    return make


@pytest.fixture
def weights():
    """A function: trainer → all parameters and buffers in one host vector."""

    def flat(trainer):
        values = [value.numpy().ravel() for value in trainer.model.state_dict().values()]
        return np.concatenate(values)

    return flat
