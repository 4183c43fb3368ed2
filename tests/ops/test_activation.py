import numpy as np
import pytest

import nnlib
from nnlib import ops
from nnlib.ops import activation

ALL = [getattr(ops, name) for name in activation.__all__]
LIMITS = {"relu": 0, "leaky_relu": 0.01, "elu": 1, "hardtanh": 0}


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.__name__)
def test_large_values_stay_finite(function, backend):
    x = nnlib.tensor([-1e4, -200.0, -90.0, 0.0, 90.0, 200.0, 1e4], requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert np.isfinite(y.numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(("name", "slope"), LIMITS.items())
def test_slope_at_a_kink_is_the_left_one(name, slope, backend):
    x = nnlib.tensor([0.0 if name != "hardtanh" else -1.0], requires_grad=True)
    getattr(ops, name)(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [slope])


def test_softmax_sums_to_one_and_ignores_a_shift(backend):
    x = nnlib.tensor([[1.0, 2.0, 3.0], [1e4, 1e4, -1e4]])
    p = nnlib.softmax(x)
    np.testing.assert_allclose(p.sum(axis=-1).numpy(), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(nnlib.softmax(x + 7).numpy(), p.numpy(), rtol=1e-6)
    np.testing.assert_allclose(p.numpy()[1], [0.5, 0.5, 0])


def test_log_softmax_keeps_what_softmax_rounds_away(backend):
    y = ops.log_softmax(nnlib.tensor([0.0, 1e4]))
    assert y.tolist() == [-1e4, 0.0]


@pytest.mark.parametrize("x", [-20.0, -5.0, 0.0, 5.0, 20.0])
def test_identities(x, backend):
    """softplus' = sigmoid (the course), tanh x = 2 σ(2x) − 1, σ(−x) = 1 − σ(x)."""
    t = nnlib.tensor(x, dtype="float64")
    sigmoid, twice = nnlib.sigmoid(t), nnlib.sigmoid(2 * t)
    np.testing.assert_allclose(nnlib.grad(ops.softplus)(t).item(), sigmoid.item(), rtol=1e-12)
    np.testing.assert_allclose(nnlib.tanh(t).item(), (2 * twice - 1).item(), atol=1e-15)
    np.testing.assert_allclose(nnlib.sigmoid(-t).item(), (1 - sigmoid).item(), atol=1e-16)
