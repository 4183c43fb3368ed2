"""Hooks, and gradients of intermediate results."""

import pytest

import nnlib
from nnlib.errors import GradientError


def leaf(*values):
    return nnlib.tensor(list(values), dtype="float64", requires_grad=True)


def test_hook_sees_the_complete_gradient(backend):
    x = leaf(2.0)
    y = x * 3
    seen = []
    y.register_hook(seen.append)
    (y * y + y).sum().backward()
    assert [g.tolist() for g in seen] == [[13.0]]
    assert isinstance(seen[0], nnlib.Tensor)


def test_hook_may_replace_the_gradient(backend):
    x = leaf(2.0, 3.0)
    x.register_hook(lambda g: g.clip(max=1.0))
    (x * x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_hooks_run_in_order_and_can_be_removed(backend):
    x = leaf(1.0)
    remove = x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 10)
    x.sum().backward()
    remove()
    x.sum().backward()
    assert x.grad.tolist() == [20.0 + 10.0]


def test_hook_must_keep_the_shape(backend):
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(GradientError, match=r"hook must return the shape \(2,\). Received: \(\)"):
        x.sum().backward()


def test_hook_needs_a_recorded_tensor():
    with pytest.raises(GradientError, match="requires_grad=True"):
        nnlib.ones(2).register_hook(print)


def test_intermediate_gradient_is_kept_when_asked_for(backend):
    x = leaf(2.0)
    y = x * x
    z = y * 3
    y.retain_grad()
    z.sum().backward()
    assert y.grad.tolist() == [3.0]
    assert z.grad is None
    with pytest.raises(GradientError, match="recorded"):
        nnlib.ones(2).retain_grad()
