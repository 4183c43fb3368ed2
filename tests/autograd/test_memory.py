"""What is no longer needed is freed at once, by reference counts alone."""

import gc
import weakref

import pytest

import nnlib
from nnlib import nn


@pytest.fixture(autouse=True)
def _no_garbage_collector():
    """Cycles would stay until the collector runs; here it does not."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def recorded():
    x = nnlib.ones(3, requires_grad=True)
    h = nnlib.tanh(x * 2)
    y = (h * h).sum()
    return x, h, y


def test_graph_goes_with_its_result(backend):
    x, h, y = recorded()
    kept = [weakref.ref(held) for held in (h, y, h.data)]
    del h, y
    assert [ref() for ref in kept] == [None] * 3
    assert x.grad is None


def test_backward_frees_what_was_kept():
    x = nnlib.ones(3, requires_grad=True)
    h = nnlib.exp(x)
    y = (h * h).sum()
    alive = weakref.ref(h.data)
    del h
    assert alive() is not None  # the derivatives of exp and of the product need it
    y.backward()
    assert alive() is None


def test_training_steps_leave_nothing_behind(backend):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x, labels = nnlib.rand(6, 4), nnlib.tensor([0, 1, 2, 0, 1, 2])

    def step():
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        alive = weakref.ref(loss)
        with nnlib.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
                p.grad = None
        return alive

    step()
    gc.collect()  # what the first step imported and compiled
    for _ in range(2):
        alive = step()
        assert alive() is None
    assert gc.collect() == 0


def test_higher_derivatives_leave_nothing_behind(backend):
    f = nnlib.grad(nnlib.grad(lambda x: nnlib.tanh(x) * x))
    f(0.5)
    gc.collect()
    f(0.5)
    assert gc.collect() == 0


def test_failed_backward_leaves_nothing_behind(backend):
    def attempt():
        _, h, y = recorded()
        with nnlib.no_grad():
            h.zero_()
        alive = weakref.ref(y)
        try:
            y.backward()
        except nnlib.NnlibError:
            return alive
        raise AssertionError("the change was not found")

    assert attempt()() is None


def test_no_grad_keeps_nothing(backend):
    x = nnlib.ones(3, requires_grad=True)
    with nnlib.no_grad():
        h = nnlib.exp(x)
        y = h * h
    alive = weakref.ref(h)
    del h
    assert alive() is None
    assert y.node is None
