import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib.errors import OptionError
from nnlib.optim import Adam, AdamW


@pytest.fixture
def p(backend):
    return nnlib.tensor([1.0], requires_grad=True)


def step(optimizer, p, gradient):
    p.grad = nnlib.tensor([gradient])
    optimizer.step()
    return p.item()


def test_by_hand(p):
    optimizer = Adam([p], lr=0.1, betas=(0.5, 0.75), eps=0.25)
    # step 1: m = 1, v = 1 after correction
    assert step(optimizer, p, 2.0) == pytest.approx(1 - 0.1 * 2 / (2 + 0.25), rel=1e-6)
    # step 2: m = (0.5 · 1 + 0.5 · 1) / 0.75, v = (0.75 · 1 + 0.25 · 1) / 0.4375
    m, v = 1.0 / 0.75, 1.0 / 0.4375
    expected = 1 - 0.2 / 2.25 - 0.1 * m / (math.sqrt(v) + 0.25)
    assert step(optimizer, p, 1.0) == pytest.approx(expected, rel=1e-6)


def test_defaults_are_pytorchs(p):
    group = Adam([p]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), 1e-8)
    assert group["weight_decay"] == 0
    assert AdamW([p]).param_groups[0]["weight_decay"] == 0.01


def test_weight_decay_is_a_penalty_in_adam_and_apart_in_adamw(p):
    # in Adam the first step has the size lr, whatever the gradient is
    assert step(Adam([p], lr=0.1, weight_decay=0.5), p, 1.0) == pytest.approx(0.9, rel=1e-6)
    q = nnlib.tensor([1.0], requires_grad=True)
    assert step(AdamW([q], lr=0.1, weight_decay=0.5), q, 1.0) == pytest.approx(0.85, rel=1e-6)


def test_amsgrad_remembers_the_largest_gradient(p):
    q = nnlib.tensor([1.0], requires_grad=True)
    plain, ams = Adam([p], lr=0.1, betas=(0, 0.1)), Adam([q], lr=0.1, betas=(0, 0.1), amsgrad=True)
    for gradient in (10.0, *[0.1] * 10):
        x, y = step(plain, p, gradient), step(ams, q, gradient)
    assert x < 0.4  # small gradients soon make full steps again
    assert y > 0.85


def test_a_parameter_that_joins_later_has_its_own_step_count(p):
    q = nnlib.tensor([1.0], requires_grad=True)
    optimizer = Adam([p, q], lr=0.1)
    for _ in range(5):
        step(optimizer, p, 1.0)
    p.grad = None
    assert step(optimizer, q, 1.0) == pytest.approx(0.9, rel=1e-6)
    assert optimizer.state[q]["step"] == 1


@pytest.mark.parametrize(
    "options",
    [{"lr": -1.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1.0}],
)
def test_ranges(p, options):
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name} must be"):
        Adam([p], **options)


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999)])
def test_betas_are_two(p, betas):
    with pytest.raises(OptionError, match="betas must be two numbers"):
        Adam([p], betas=betas)


def test_extreme_gradients_stay_finite(backend):
    p = nnlib.tensor(np.zeros(3, np.float32), requires_grad=True, backend=backend)
    p.grad = nnlib.tensor([0.0, 1e-30, 1e15])
    Adam([p], lr=0.1).step()
    values = p.numpy()
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[[0, 2]], [0.0, -0.1], rtol=1e-5)


@pytest.mark.peers
@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["Adam", "AdamW"]),
    options=st.fixed_dictionaries(
        {
            "lr": st.floats(1e-4, 1.0),
            "betas": st.tuples(st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.5, 0.999])),
            "eps": st.sampled_from([1e-8, 1e-3]),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "amsgrad": st.booleans(),
        }
    ),
)
def test_trajectory_is_pytorchs(check_against_torch, name, options):
    check_against_torch(name, options, rtol=1e-9)


@pytest.mark.peers
def test_trajectory_in_float32(check_against_torch):
    check_against_torch("AdamW", {"lr": 0.1}, dtype="float32", rtol=1e-5)
