import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib.errors import OptionError
from nnlib.optim import RMSprop


@pytest.fixture
def p(backend):
    return nnlib.tensor([1.0], requires_grad=True)


def step(optimizer, p, gradient):
    p.grad = nnlib.tensor([gradient])
    optimizer.step()
    return p.item()


def test_by_hand(p):
    optimizer = RMSprop([p], lr=0.1, alpha=0.75, eps=0.5)
    first = 1 - 0.1 * 2 / (math.sqrt(0.25 * 4) + 0.5)
    assert step(optimizer, p, 2.0) == pytest.approx(first, rel=1e-6)
    second = first - 0.1 * 1 / (math.sqrt(0.75 * 1 + 0.25 * 1) + 0.5)
    assert step(optimizer, p, 1.0) == pytest.approx(second, rel=1e-6)


def test_centred_with_momentum_by_hand(p):
    optimizer = RMSprop([p], lr=0.1, alpha=0.5, eps=0.0, momentum=0.5, centered=True)
    # mean square 2, mean 1: deviation 1, direction 2
    assert step(optimizer, p, 2.0) == pytest.approx(0.8, rel=1e-6)
    # mean square 2, mean 0: deviation √2; sum 0.5 · 2 + −1 / √2 … gradient −1: square 1.5, mean 0
    direction = 0.5 * 2 - 1 / math.sqrt(1.5)
    assert step(optimizer, p, -1.0) == pytest.approx(0.8 - 0.1 * direction, rel=1e-6)


def test_defaults_are_pytorchs(p):
    group = RMSprop([p]).param_groups[0]
    assert (group["lr"], group["alpha"], group["eps"]) == (0.01, 0.99, 1e-8)


def test_a_constant_gradient_does_not_become_nan_when_centred(backend):
    p = nnlib.tensor(np.ones(64, np.float32), requires_grad=True, backend=backend)
    gradient = np.linspace(0.1, 3, 64, dtype=np.float32)
    optimizer = RMSprop([p], lr=1e-3, alpha=0.5, eps=1e-3, centered=True)
    for _ in range(60):  # the variance is 0 but for rounding
        p.grad = nnlib.tensor(gradient, backend=backend)
        optimizer.step()
    assert np.isfinite(p.numpy()).all()


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"alpha": 1.5}, {"momentum": -0.1}])
def test_ranges(p, options):
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name} must be"):
        RMSprop([p], **options)


@pytest.mark.peers
@settings(max_examples=40, deadline=None)
@given(
    options=st.fixed_dictionaries(
        {
            "lr": st.floats(1e-4, 1.0),
            "alpha": st.sampled_from([0.5, 0.99]),
            "eps": st.sampled_from([1e-8, 1e-3]),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "momentum": st.sampled_from([0.0, 0.9]),
            "centered": st.booleans(),
        }
    )
)
def test_trajectory_is_pytorchs(check_against_torch, options):
    check_against_torch("RMSprop", options, rtol=1e-8)
