import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError


def test_rows_are_looked_up_and_gradients_added(backend, place):
    layer = nn.Embedding(4, 2)
    layer.load_state_dict({"weight": np.arange(8.0).reshape(4, 2)})
    y = layer(place([[1, 3], [1, 0]]))
    assert y.tolist() == [[[2, 3], [6, 7]], [[2, 3], [0, 1]]]
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1], [2, 2], [0, 0], [1, 1]]


def test_padding_is_zero_and_is_not_learned(backend, place):
    layer = nn.Embedding(3, 2, padding_idx=-1)
    assert layer.weight.numpy()[2].tolist() == [0, 0]
    assert layer.weight.is_leaf
    layer(place([2, 1, 2])).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_gradients(double):
    layer = double(nn.Embedding(5, 3))
    indices = nnlib.tensor([[0, 4], [4, 2]])
    assert nnlib.gradcheck(lambda _: layer(indices), [layer.weight])


def test_initial_values_are_standard_normal():
    values = nn.Embedding(200, 100).weight.numpy()
    assert values.std() == pytest.approx(1.0, rel=0.03)


def test_bad_input():
    layer = nn.Embedding(4, 2)
    for index in (4, -1):
        with pytest.raises(OptionError, match=rf"in 0 … 3. Received: values from .*{index}.*Embed"):
            layer([0, index])
    with pytest.raises(DTypeError, match=r"integer indices. Received: float32 \(1,\)"):
        layer([1.0])
    with pytest.raises(ShapeError, match=r"\(num_embeddings, embedding_dim\)"):
        nn.functional.embedding([0], nnlib.ones(3))
    with pytest.raises(OptionError, match="padding_idx must be one of the 4 indices"):
        nn.Embedding(4, 2, padding_idx=4)
    assert repr(nn.Embedding(4, 2, 0)) == "Embedding(4, 2, padding_idx=0)"


@pytest.mark.peers
@settings(max_examples=10, deadline=None)
@given(
    indices=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    padding=st.one_of(st.none(), st.integers(0, 4)),
)
def test_like_torch(check_against_torch, indices, padding):
    import torch

    check_against_torch(
        lambda w: nn.functional.embedding(indices, w, padding),
        lambda w: torch.nn.functional.embedding(torch.tensor(indices), w, padding),
        np.random.default_rng(0).normal(size=(5, 3)),
    )
