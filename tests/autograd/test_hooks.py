"""Hooks, and gradients of intermediate results."""

import copy
import operator
import pickle
import weakref

import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, GradientError


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


def test_hook_must_be_a_function():
    with pytest.raises(DTypeError, match="must be a function"):
        leaf(1.0).register_hook(3)


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
    with pytest.raises(GradientError, match="requires_grad=True"):
        nnlib.ones(2).retain_grad()


@pytest.mark.parametrize("leave", [lambda h: h.remove(), lambda h: h(), lambda h: h.__exit__()])
def test_ways_to_remove_a_hook(leave):
    x = leaf(1.0)
    first, second = (x.register_hook(lambda g: g * 10) for _ in range(2))
    leave(second)
    leave(second)  # again: nothing happens, and the equal one stays
    x.sum().backward()
    assert x.grad.tolist() == [10.0]
    leave(first)
    x.sum().backward()
    assert x.grad.tolist() == [11.0]


def test_hook_in_a_with_block():
    x = leaf(1.0)
    with x.register_hook(lambda g: g * 10) as handle:
        x.sum().backward()
    x.sum().backward()
    assert x.grad.tolist() == [11.0]
    assert handle.remove() is None


def test_hooks_that_remove_themselves_and_others():
    x, seen, handles = leaf(1.0), [], []

    def once(number):
        def hook(g):
            seen.append(number)
            for handle in handles:
                handle.remove()

        return hook

    handles += [x.register_hook(once(i)) for i in range(3)]
    x.sum().backward()
    x.sum().backward()
    assert seen == [0, 1, 2]  # all that were there when the pass arrived, and none later


def test_an_error_in_a_hook_leaves_and_the_next_pass_works():
    x = leaf(1.0)
    handle = x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        x.sum().backward()
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize("wrong", [2.0, "g", np.ones(2), [1.0, 1.0]], ids=str)
def test_hook_must_return_a_tensor(wrong):
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: wrong)
    with pytest.raises(GradientError, match="hook must return a tensor on 'numpy', or None"):
        x.sum().backward()


def test_what_a_hook_returns_gets_the_gradient_s_dtype(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: g.astype("float64") * 3)
    x.sum().backward()
    assert (x.grad.dtype.name, x.grad.tolist()) == ("float32", [3.0, 3.0])


def test_a_hook_does_not_keep_the_graph_alive():
    x = leaf(1.0)
    y = x * 2
    node = weakref.ref(y.node)
    handle = y.register_hook(lambda g: g)
    del y
    assert node() is None
    handle.remove()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_hooks_are_copied_with_their_handles(copied):
    x = leaf(1.0)
    handle = x.register_hook(operator.neg)
    y, twin = copied((x, handle))
    y.sum().backward()
    twin.remove()
    y.sum().backward()
    x.sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([0.0], [-1.0])


class TestCompiled:
    """A compiled pass has the hooks of the leaves as they are at each call."""

    def test_hooks_that_come_and_go(self, backend):
        w = nnlib.tensor([1.0, 2.0], requires_grad=True)

        @nnlib.compile
        def gradient(x):
            w.grad = None
            (w * x).sum().backward()
            return w.grad

        x = nnlib.ones(2)
        expected = []
        found = []
        for factor in (1, 10, 100, 1):
            handle = w.register_hook(lambda g, factor=factor: g * factor)
            for _ in range(3):
                found.append(gradient(x).tolist())
                expected.append([float(factor)] * 2)
            handle.remove()
            found.append(gradient(x).tolist())
            expected.append([1.0, 1.0])
        assert found == expected
