"""Whole steps: mixed precision, gradients at home, and recordings, with the double of cuDNN."""

import numpy as np
import pytest
from fake_cudnn import CudnnBackend

import nnlib
from nnlib import nn, optim
from nnlib.nn import functional as F
from nnlib_backends import use_backend


@pytest.fixture
def backend(choices):
    with use_backend(CudnnBackend(choices)) as chosen:
        yield chosen


class Network(nn.Module):
    """A convolution of three channels, one of sixteen, and attention between the pixels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.attend = nn.MultiheadAttention(16, 2)

    def forward(self, x):
        y = F.tanh(self.second(F.relu(self.first(x))))
        y = y.reshape(y.shape[0], -1, 16)
        return self.attend(y, y, y, is_causal=True)[0]


def trained(precision, compiled, steps=4):
    """Losses and parameters after some steps."""
    nnlib.manual_seed(0)
    model = Network()
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    data = np.random.default_rng(0).normal(size=(steps, 2, 6, 6, 3)).astype(np.float32)

    def step(x):
        optimizer.zero_grad()
        with nnlib.autocast(precision or "bf16", enabled=precision is not None):
            loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    run = nnlib.compile(step) if compiled else step
    losses = [float(run(nnlib.tensor(x))) for x in data]
    return losses, [parameter.numpy() for parameter in model.parameters()]


@pytest.mark.parametrize("precision", [None, "bf16", "fp16"])
def test_it_learns_what_numpy_learns(backend, precision):
    losses, parameters = trained(precision, compiled=False)
    with use_backend("numpy"):
        expected_losses, expected = trained(precision, compiled=False)
    tolerance = {None: 1e-5, "fp16": 2e-3, "bf16": 2e-2}[precision]
    np.testing.assert_allclose(losses, expected_losses, rtol=tolerance)
    for mine, theirs in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(
            mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max()
        )
    kinds = {graph.kind for graph in backend.world.log}
    both = {"attend", "attend back"} if precision else set()
    assert kinds == {"forward", "image", "filters"} | both


@pytest.mark.parametrize("precision", [None, "bf16"])
def test_a_recorded_step_is_the_same(backend, precision):
    losses, parameters = trained(precision, compiled=False)
    executed = len(backend.world.executed)
    compiled_losses, compiled = trained(precision, compiled=True)
    assert compiled_losses == losses
    for mine, theirs in zip(compiled, parameters, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # two recorded runs and the capture; replays are graphs
    assert len(backend.world.executed) - executed == executed // 4 * 3
