import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError
from nnlib.random import Generator


def test_zeros_and_scale(backend):
    y = nn.Dropout(0.3)(nnlib.ones(200, 100)).numpy()
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    # standard errors: 0.0032 and 0.0046
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.015)
    assert y.mean() == pytest.approx(1.0, abs=0.02)


def test_gradient_passes_where_the_value_did(backend):
    x = nnlib.ones(50, requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    assert (x.grad.numpy() == y.numpy()).all()


def test_identity_in_evaluation_and_without_probability():
    x = nnlib.rand(3)
    before = nnlib.random.default_generator.state_dict()
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert nnlib.random.default_generator.state_dict() == before


def test_nothing_is_left_with_probability_one(backend):
    x = nnlib.ones(5, requires_grad=True)
    y = nn.Dropout(1.0)(x)
    y.sum().backward()
    assert y.tolist() == x.grad.tolist() == [0] * 5


def test_mask_follows_the_seed_on_every_backend(backend):
    x = nnlib.ones(100)
    masks = []
    for seed in (3, 3, 4):
        nnlib.manual_seed(seed)
        masks.append(nn.Dropout()(x).numpy())
    nnlib.manual_seed(3)
    masks.append(nn.Dropout()(nnlib.ones(100, backend="numpy")).numpy())
    assert (masks[0] == masks[1]).all()
    assert (masks[0] == masks[3]).all()
    assert not (masks[0] == masks[2]).all()
    assert not (nn.Dropout()(x).numpy() == nn.Dropout()(x).numpy()).all()


def test_own_generator():
    a, b = (nn.functional.dropout(nnlib.ones(40), generator=Generator(1)).numpy() for _ in "ab")
    assert (a == b).all()


def test_bad_arguments():
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError, match=r"p must be in \[0, 1\]. Received"):
            nn.Dropout(p)
    with pytest.raises(DTypeError, match="dropout needs floating-point"):
        nn.Dropout()(nnlib.arange(3))
    assert repr(nn.Dropout(0.2)) == "Dropout(p=0.2)"
