"""How many Python functions one call of a layer and one training step call.

Small networks spend their time in them.  The counts are exact and the same on every machine with
compiled kernels; the limits leave a few calls for what other versions of Python and NumPy do.
"""

import sys

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.nn import functional as F
from nnlib_backends.numpy_backend import kernel_choice

pytestmark = pytest.mark.skipif(
    kernel_choice.compiled_kernels()[0] is None, reason="counts of compiled kernels"
)


class LSTMClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.norm, self.head = nn.LSTM(8, 16), nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.head(self.norm(states[:, -1]))


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)), (64,)),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(36),
            nn.Linear(36, 10),
        ),
        (8, 8, 1),
    ),
    "lstm": (LSTMClassifier, (5, 8)),
}  # fmt: skip


def count(function):
    """How many Python functions a call calls, after some that prepare what lasts."""
    for _ in range(3):
        function()
    calls = 0

    def note(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def training_step(name):
    make, shape = MODELS[name]
    model = make()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    x, labels = nnlib.tensor(np.ones((32, *shape), np.float32)), nnlib.tensor(np.arange(32) % 10)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def test_layer():
    layer, x = nn.Linear(64, 32), nnlib.ones(32, 64)
    assert count(lambda: layer(x)) <= 25


@pytest.mark.parametrize(("name", "most"), [("mlp", 250), ("conv", 530), ("lstm", 590)])
def test_training_step(name, most):
    assert count(training_step(name)) <= most


@pytest.mark.parametrize(("name", "most"), [("mlp", 35), ("conv", 35), ("lstm", 70)])
def test_compiled_training_step(name, most):
    assert count(nnlib.compile(training_step(name))) <= most
