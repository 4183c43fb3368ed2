import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import ShapeError


def test_identity_returns_its_input():
    x = object()
    assert nn.Identity()(x) is x


def test_flatten_goes_row_by_row_and_channels_last(backend, place):
    x = place(np.arange(12.0).reshape(1, 2, 3, 2))
    assert nn.Flatten()(x).tolist() == [list(range(12))]
    assert nn.Flatten(0, 1)(x).shape == (2, 3, 2)
    assert nn.Flatten(-2)(x).shape == (1, 2, 6)
    assert nn.Flatten()(nnlib.ones(0, 3, 2)).shape == (0, 6)


def test_unflatten_is_the_inverse(backend, place):
    x = place(np.arange(24.0).reshape(2, 3, 4))
    assert nn.Unflatten(1, (3, 4))(nn.Flatten()(x)).tolist() == x.tolist()
    assert nn.Unflatten(-1, (2, -1))(x).shape == (2, 3, 2, 2)
    assert nn.Unflatten(0, (1, 2))(x).shape == (1, 2, 3, 4)


def test_gradients(check_layer):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    check_layer(nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Unflatten(1, (4, 3))), x)


def test_bad_input():
    with pytest.raises(ShapeError, match="start_dim must name one of 1 axes"):
        nn.Flatten()(nnlib.ones(3))
    with pytest.raises(ShapeError, match="start_dim = 2 must not come after end_dim = 1"):
        nn.Flatten(2, 1)(nnlib.ones(2, 3, 4))
    for sizes in ((5, 2), (-1, -1), (-1, 5), (-3, -4)):
        with pytest.raises(ShapeError, match=r"must multiply to axis 1. Received: float32 \(2, 12"):
            nn.Unflatten(1, sizes)(nnlib.ones(2, 12))
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(nn.Unflatten(1, (2, 3))) == "Unflatten(dim=1, unflattened_size=(2, 3))"
