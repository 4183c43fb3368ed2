"""Whole training steps with these kernels, against the NumPy backend."""

import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.nn import functional as F
from nnlib_backends import use_backend


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(5, 8), nn.GRU(8, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.gru(self.lstm(x)[0])[0][:, -1])


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2),
        nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(5, 3),
    )  # fmt: skip


def words():
    return nn.Sequential(
        nn.Embedding(11, 8), nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.2),
        nn.Linear(16, 8), nn.RMSNorm(8), nn.Flatten(), nn.Linear(48, 3),
    )  # fmt: skip


MODELS = {
    "recurrent": (Recurrent, lambda rng: rng.normal(size=(6, 5, 5)).astype("f4")),
    "convolutional": (convolutional, lambda rng: rng.normal(size=(6, 8, 8, 1)).astype("f4")),
    "words": (words, lambda rng: rng.integers(0, 11, (6, 6))),
}
OPTIMIZERS = {
    "recurrent": lambda params: nnlib.optim.AdamW(params, lr=0.01),
    "convolutional": lambda params: nnlib.optim.SGD(params, lr=0.05, momentum=0.9),
    "words": lambda params: nnlib.optim.RMSprop(params, lr=0.01, momentum=0.5),
}


def losses(name, where):
    """The losses of five steps, and the weights after them."""
    with use_backend(where):
        nnlib.manual_seed(0)
        build, draw = MODELS[name]
        model, rng = build(), np.random.default_rng(0)
        optimizer = OPTIMIZERS[name](model.parameters())
        found = []
        for _ in range(5):
            x, labels = nnlib.tensor(draw(rng)), nnlib.tensor(rng.integers(0, 3, 6))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            nnlib.optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            found.append(loss.item())
        return found, [p.numpy() for p in model.parameters()]


@pytest.mark.parametrize("name", MODELS)
def test_training_steps_equal_those_of_numpy(name, backend):
    ours, weights = losses(name, backend.name)
    expected, theirs = losses(name, "numpy")
    assert ours == pytest.approx(expected, rel=1e-4)
    for one, other in zip(weights, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    if hasattr(backend, "driver"):
        used = {entry[0] for entry in backend.driver.log}
        assert {"cross_entropy_forward_warp", "sum_of_squares"} <= used
