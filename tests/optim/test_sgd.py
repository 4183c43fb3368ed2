import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib.errors import OptionError
from nnlib.optim import SGD


def steps(optimizer, p, gradients):
    values = []
    for gradient in gradients:
        p.grad = nnlib.tensor([gradient])
        optimizer.step()
        values.append(round(p.item(), 6))
    return values


@pytest.fixture
def p(backend):
    return nnlib.tensor([1.0], requires_grad=True)


def test_plain(p):
    assert steps(SGD([p], lr=0.1), p, [1.0, 2.0]) == [0.9, 0.7]


def test_default_learning_rate_is_pytorchs(p):
    assert SGD([p]).param_groups[0]["lr"] == 0.001


def test_weight_decay(p):
    assert steps(SGD([p], lr=0.1, weight_decay=0.5), p, [1.0]) == [0.85]


def test_momentum(p):
    # v = 1, then 0.5 · 1 + 1 = 1.5
    assert steps(SGD([p], lr=0.1, momentum=0.5), p, [1.0, 1.0]) == [0.9, 0.75]


def test_dampening_spares_the_first_step(p):
    # v = 1, then 0.5 · 1 + 0.75 · 1 = 1.25
    optimizer = SGD([p], lr=0.1, momentum=0.5, dampening=0.25)
    assert steps(optimizer, p, [1.0, 1.0]) == [0.9, 0.775]


def test_nesterov(p):
    # v = 1: direction 1 + 0.5; v = 1.5: direction 1 + 0.75
    optimizer = SGD([p], lr=0.1, momentum=0.5, nesterov=True)
    assert steps(optimizer, p, [1.0, 1.0]) == [0.85, 0.675]


def test_momentum_can_be_changed_between_steps(p):
    optimizer = SGD([p], lr=0.1)
    assert steps(optimizer, p, [1.0]) == [0.9]
    optimizer.param_groups[0]["momentum"] = 0.5
    assert steps(optimizer, p, [1.0, 1.0]) == [0.8, 0.65]
    optimizer.param_groups[0]["momentum"] = 0.0
    assert steps(optimizer, p, [1.0]) == [0.55]


def test_nesterov_needs_momentum_without_dampening(p):
    for options in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(OptionError, match="nesterov=True needs momentum > 0 and dampening"):
            SGD([p], nesterov=True, **options)


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"momentum": 9.0}, {"dampening": -0.1}, {"weight_decay": np.nan}]
)
def test_ranges(p, options):
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name} must be"):
        SGD([p], **options)


@pytest.mark.peers
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_trajectory_is_pytorchs(check_against_torch, data):
    options = {
        "lr": data.draw(st.floats(1e-4, 1.0)),
        "momentum": data.draw(st.sampled_from([0.0, 0.5, 0.9])),
        "weight_decay": data.draw(st.sampled_from([0.0, 0.01])),
    }
    if options["momentum"] and data.draw(st.booleans()):
        options["nesterov"] = True
    else:
        options["dampening"] = data.draw(st.sampled_from([0.0, 0.3]))
    check_against_torch("SGD", options)


@pytest.mark.peers
def test_trajectory_in_float32(check_against_torch):
    check_against_torch("SGD", {"lr": 0.1, "momentum": 0.9}, dtype="float32", rtol=1e-5)
