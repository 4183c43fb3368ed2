import numpy as np
import pytest

import nnlib
from nnlib.errors import OptionError, ShapeError
from nnlib.models import CharRNN
from nnlib.models.charrnn import CELLS, detached
from nnlib.nn import functional as F


def tokens(*shape):
    return np.random.default_rng(0).integers(0, 7, shape)


@pytest.mark.parametrize("cell", CELLS)
def test_logits(backend, cell):
    model = CharRNN(7, width=8, layers=2, cell=cell)
    assert model(nnlib.tensor(tokens(3, 5))).shape == (3, 5, 7)


@pytest.mark.parametrize("cell", CELLS)
def test_text_in_pieces(cell):
    model, x = CharRNN(7, width=8, cell=cell), tokens(2, 6)
    first, state = model.advance(x[:, :4])
    second, _ = model.advance(x[:, 4:], detached(state))
    pieces = np.concatenate([first.numpy(), second.numpy()], axis=1)
    np.testing.assert_allclose(pieces, model(x).numpy(), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_generation_continues_the_text_greedily(cell):
    model, x = CharRNN(7, width=8, cell=cell).eval(), tokens(2, 3)
    y = model.generate(x, 4, temperature=0).numpy()
    np.testing.assert_array_equal(y[:, :3], x)
    for length in range(3, 7):
        logits = model(nnlib.tensor(y[:, :length])).numpy()
        np.testing.assert_array_equal(y[:, length], logits[:, -1].argmax(axis=-1))
    assert model.generate(x, 3, 0.8, top_k=3, top_p=0.9).shape == (2, 6)


@pytest.mark.parametrize("cell", CELLS)
def test_learns_a_rhythm(backend, cell):
    """Each token is the one two places before."""
    nnlib.manual_seed(1)
    model = CharRNN(7, width=24, cell=cell)
    optimizer = nnlib.optim.Adam(model.parameters(), lr=2e-2)
    x = nnlib.tensor(np.tile(tokens(16, 2), (1, 4)))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[:, 1:-1], x[:, 2:])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.numpy()))
    assert losses[-1] < losses[0] / 3


def test_arguments_are_checked():
    with pytest.raises(OptionError, match="cell"):
        CharRNN(7, cell="elman")
    with pytest.raises(ShapeError, match="batch, time"):
        CharRNN(7)(tokens(3))
