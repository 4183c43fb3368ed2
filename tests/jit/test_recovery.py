"""A process goes on after an error (no memory, bad input), also with compiled functions."""

import gc

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import BackendMismatchError, OutOfMemoryError, ShapeError

HUGE = 1 << 24  #: squared: a table of 256 TiB


@pytest.fixture
def training(backend):
    """A compiled step of a small training, and batches of it."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @nnlib.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    rng = np.random.default_rng(0)
    x, y = nnlib.tensor(rng.standard_normal((12, 6)).astype("float32")), np.arange(12) % 3
    return lambda rows=12: step(x[:rows], nnlib.tensor(y[:rows])).item()


def falls(training):
    """Whether a loss goes down as it should."""
    losses = [training() for _ in range(8)]
    return losses[0] > losses[-1]


def test_no_memory_for_an_operation(training):
    assert falls(training)
    column, row = nnlib.ones(HUGE, 1, dtype="int8"), nnlib.ones(1, HUGE, dtype="int8")
    for _ in range(3):
        with pytest.raises(OutOfMemoryError):
            column + row
    assert falls(training)


def test_no_memory_for_a_trace(training):
    @nnlib.compile
    def table(column, row):
        return (column * 2 + row * 2).sum()

    tall = [nnlib.ones(HUGE, 1, dtype="int8"), nnlib.ones(1, HUGE, dtype="int8")]
    short = [nnlib.ones(4, 1), nnlib.ones(1, 5)]
    assert falls(training)
    for _ in range(2):
        with pytest.raises(OutOfMemoryError):
            table(*tall)
        assert [table(*short).item() for _ in range(4)] == [80.0] * 4
    assert falls(training)


def test_bad_input(training, backend):
    assert falls(training)
    layer = nn.Linear(6, 3)
    compiled = nnlib.compile(lambda x: layer(x))
    for _ in range(2):
        with pytest.raises(ShapeError):
            layer(nnlib.ones(2, 5))
        with pytest.raises(ShapeError):
            compiled(nnlib.ones(2, 5))
        assert compiled(nnlib.ones(2, 6)).shape == (2, 3)
    if backend.name != "numpy":
        with pytest.raises(BackendMismatchError):
            layer(nnlib.ones(2, 6, backend="numpy"))
    assert falls(training)
    assert training(rows=7) > 0  # another trace of the same step


@pytest.mark.gpu
def test_a_full_card_is_usable_when_what_filled_it_is_gone():
    with nnlib.use_backend("cupy") as backend:
        layer = nn.Linear(512, 512)
        blocks, size = [], 1 << 28  # a gibibyte of float32
        with pytest.raises(OutOfMemoryError, match="tensors"):
            blocks.extend(nnlib.zeros(size) for _ in range(1 << 12))
        assert blocks  # those before the error
        used = backend.memory_info().used
        count = len(blocks)
        del blocks
        gc.collect()
        assert backend.memory_info().used <= used - (count - 1) * 4 * size
        (layer(nnlib.ones(64, 512)) ** 2).sum().backward()
        assert np.isfinite(layer.weight.grad.numpy()).all()
