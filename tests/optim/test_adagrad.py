import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib.errors import OptionError
from nnlib.optim import Adagrad


@pytest.fixture
def p(backend):
    return nnlib.tensor([1.0], requires_grad=True)


def step(optimizer, p, gradient):
    p.grad = nnlib.tensor([gradient])
    optimizer.step()
    return p.item()


def test_by_hand(p):
    optimizer = Adagrad([p], lr=0.1, lr_decay=0.5, initial_accumulator_value=5.0, eps=0.5)
    first = 1 - 0.1 * 2 / (3 + 0.5)
    assert step(optimizer, p, 2.0) == pytest.approx(first, rel=1e-6)
    second = first - 0.1 / 1.5 * 4 / (5 + 0.5)
    assert step(optimizer, p, 4.0) == pytest.approx(second, rel=1e-6)


def test_steps_shrink_as_the_inverse_root(p):
    optimizer = Adagrad([p], lr=0.1)
    values = [1.0] + [step(optimizer, p, 3.0) for _ in range(4)]
    sizes = [before - after for before, after in pairwise(values)]
    assert sizes == pytest.approx([0.1 / math.sqrt(t) for t in (1, 2, 3, 4)], rel=1e-4)


def test_defaults_are_pytorchs(p):
    group = Adagrad([p]).param_groups[0]
    assert (group["lr"], group["lr_decay"], group["eps"]) == (0.01, 0.0, 1e-10)


@pytest.mark.parametrize("options", [{"lr_decay": -1.0}, {"initial_accumulator_value": -1.0}])
def test_ranges(p, options):
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name} must be"):
        Adagrad([p], **options)


@pytest.mark.peers
@settings(max_examples=30, deadline=None)
@given(
    options=st.fixed_dictionaries(
        {
            "lr": st.floats(1e-4, 1.0),
            "lr_decay": st.sampled_from([0.0, 0.1]),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "initial_accumulator_value": st.sampled_from([0.0, 1.0]),
            "eps": st.sampled_from([1e-10, 1e-3]),
        }
    )
)
def test_trajectory_is_pytorchs(check_against_torch, options):
    check_against_torch("Adagrad", options)
