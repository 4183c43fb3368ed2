"""Several threads that differentiate through one model, or share a context manager."""

import threading
import time

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.autograd import engine
from nnlib.autograd.mode import half_dtype
from nnlib.errors import GradientError


def in_threads(function, count):
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.fixture(params=["homes", "no homes"])
def model(request):
    """A model with weights of 1; its gradients may be views of an optimizer's flat buffer."""
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    for p in model.parameters():
        p.data = np.ones(p.shape, np.float32)
    if request.param == "homes":
        optimizer = optim.SGD(model.parameters(), lr=0.0)
        model(nnlib.ones(2, 8)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def gradients(model):
    return [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]


def test_a_pass_leaves_its_gradients_when_another_threads_pass_is_over(model):
    model(nnlib.ones(2, 8)).sum().backward()
    expected = gradients(model)
    model.zero_grad()
    x = nnlib.ones(2, 8, requires_grad=True)
    with engine._leaving:  # a pass in this thread
        (thread,) = in_threads(model(x).sum().backward, 1)
        time.sleep(0.05)
        assert thread.is_alive()
        assert gradients(model) == [None] * 4
    thread.join()
    for ours, right in zip(gradients(model), expected, strict=True):
        np.testing.assert_array_equal(ours, right)
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 8), 4 * 32))


def test_gradients_of_several_threads_add_up(model):
    model(nnlib.ones(2, 8)).sum().backward()
    expected = [4 * g for g in gradients(model)]
    for _ in range(30):
        model.zero_grad()
        for thread in in_threads(lambda: model(nnlib.ones(2, 8)).sum().backward(), 4):
            thread.join()
        for ours, right in zip(gradients(model), expected, strict=True):
            np.testing.assert_array_equal(ours, right)


def test_hooks_of_several_threads_may_wait_for_each_other():
    barrier, results = threading.Barrier(3), []

    def work():
        w = nnlib.ones(2, requires_grad=True)
        y = w * 2

        def wait(g):
            barrier.wait(timeout=60)

        y.register_hook(wait)
        y.sum().backward()
        results.append(w.grad.tolist())

    for thread in in_threads(work, 3):
        thread.join()
    assert results == [[2, 2]] * 3


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (nnlib.no_grad, nnlib.is_grad_enabled),
        (lambda: nnlib.autocast("fp16"), half_dtype),
    ],
)
def test_one_context_manager_serves_several_threads(make, read):
    shared, barrier, found, outside = make(), threading.Barrier(4), [], read()

    def work():
        for _ in range(3):
            barrier.wait()
            with shared:
                barrier.wait()
                inside = read()
                with shared:
                    pass
                found.append((inside, read()))
            found.append((read(), outside))

    for thread in in_threads(work, 4):
        thread.join()
    assert len(found) == 24
    assert all(one == two for one, two in found)
    assert read() == outside


def test_a_step_in_another_thread_between_forward_and_backward_is_an_error():
    model, x = nn.Linear(8, 4), nnlib.ones(4, 8)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def train():
        model(x).sum().backward()
        optimizer.step()

    loss = model(x).sum()
    for thread in in_threads(train, 1):
        thread.join()
    with pytest.raises(GradientError, match="changed in place"):
        loss.backward()
