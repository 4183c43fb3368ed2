"""Compiled functions that several threads call at once."""

import os
import signal
import threading

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import CaptureError
from nnlib.jit import trace

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def training_steps(model, count=1):
    """Return compiled functions that all train a model by the same optimizer."""
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return [nnlib.compile(step) for _ in range(count)]


def in_threads(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_function_serves_several_threads():
    weight, results = nnlib.ones(3, 3), []
    compiled = nnlib.compile(lambda x: (x @ weight).sum())

    def work(value):
        x = nnlib.full((2, 3), value)
        results.extend([(float(compiled(x)), 18.0 * value) for _ in range(20)])

    in_threads([lambda v=v: work(v) for v in range(6)])
    assert len(results) == 120
    assert all(found == right for found, right in results)


def test_steps_of_different_models_run_at_once():
    losses = []

    def work():
        model = nn.Linear(4, 2)
        for p in model.parameters():
            p.data = np.ones(p.shape, np.float32)
        (step,) = training_steps(model)
        losses.append([float(step(nnlib.ones(3, 4))) for _ in range(20)])

    in_threads([work] * 4)
    assert len(losses) == 4
    assert all(loss == losses[0] for loss in losses)


def test_two_steps_that_change_one_model_at_once_are_refused(monkeypatch):
    model, x = nn.Linear(4, 2), nnlib.ones(3, 4)
    first, second = training_steps(model, 2)
    for step in (first, second) * 3:
        step(x)
    (running,) = [t for s in first._specializations.values() for t in s.traces]
    monkeypatch.setattr(trace, "_replaying", {running})  # as in another thread
    before = [p.numpy() for p in model.parameters()]
    with pytest.raises(CaptureError, match="trained in one thread at a time"):
        second(x)
    for p, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), old)
    trace._replaying.clear()
    second(x)
    assert not trace._replaying


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_call_what_another_thread_is_in():
    model, x = nn.Linear(4, 2), nnlib.ones(3, 4)
    first, second = training_steps(model, 2)
    for step in (first, second) * 3:
        step(x)
    (running,) = [t for s in first._specializations.values() for t in s.traces]
    trace._replaying.add(running)
    locked, over = threading.Event(), threading.Event()

    def hold():
        with first._lock, second._lock:
            locked.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    process = os.fork()
    if process == 0:
        code = 1
        signal.alarm(60)  # rather than wait for ever
        try:
            first(x)
            second(x)
            code = 0
        finally:
            os._exit(code)
    over.set()
    thread.join()
    trace._replaying.clear()
    assert os.waitpid(process, 0)[1] == 0
