"""Threads and processes: whoever computes, and whoever comes first, gets the same bits."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nnlib_backends.locks import finished_before_fork, lock_of_an_object, once

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
LAYERS = ["omp", pytest.param("workqueue", marks=pytest.mark.slow)]


def run(*words, **variables):
    """Run `concurrent_work.py`; whatever it has started ends with it."""
    command = [sys.executable, "-W", "ignore", Path(__file__).with_name("concurrent_work.py")]
    process = subprocess.Popen(
        [*command, *words],
        env={**os.environ, "NNLIB_NUM_THREADS": "2", **variables},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, error = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, error


def test_first_use_in_several_threads():
    run("first_use_in_threads")


@pytest.mark.slow
def test_first_use_in_several_threads_with_an_empty_cache(tmp_path):
    run("first_use_in_threads", NUMBA_CACHE_DIR=str(tmp_path))


@pytest.mark.slow
def test_first_use_in_several_threads_without_compiled_kernels():
    run("first_use_in_threads", NNLIB_NATIVE="0")


@needs_fork
@pytest.mark.parametrize("layer", LAYERS)
def test_forked_processes(layer):
    run("fork", NUMBA_THREADING_LAYER=layer)


@needs_fork
@pytest.mark.parametrize("layer", LAYERS)
def test_forks_while_other_threads_compute(layer):
    run("fork_while_others_compute", NUMBA_THREADING_LAYER=layer)


@needs_fork
@pytest.mark.slow
def test_forks_without_compiled_kernels():
    run("fork_while_others_compute", NNLIB_NATIVE="0")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "method",
    [
        pytest.param("fork", marks=[needs_fork, pytest.mark.slow]),
        "spawn",
        pytest.param("forkserver", marks=[needs_fork, pytest.mark.slow]),
    ],
)
def test_pools_of_processes(method, layer):
    run("executor", method, NUMBA_THREADING_LAYER=layer)


def test_the_start_method_is_still_to_be_chosen_after_the_first_kernel():
    code = """if True:
        import multiprocessing, nnlib
        nnlib.relu(nnlib.ones(3))
        multiprocessing.set_start_method("spawn")
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.peers
@needs_fork
@pytest.mark.parametrize("layer", LAYERS)
def test_joblib(layer):
    pytest.importorskip("joblib")
    run("joblib", NUMBA_THREADING_LAYER=layer)


def in_threads(function, count=8):
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_once_is_once_in_all_threads():
    calls = []

    @once
    def slow():
        calls.append(1)
        time.sleep(0.05)
        return object()

    results = []
    in_threads(lambda: results.append(slow()))
    assert len(calls) == 1
    assert len(set(results)) == 1
    slow.forget()
    assert slow() is not results[0]


def test_once_tries_again_after_an_error():
    tries = []

    @once
    def fails_first():
        tries.append(1)
        if len(tries) == 1:
            raise FileNotFoundError
        return 7

    with pytest.raises(FileNotFoundError):
        fails_first()
    assert fails_first() == 7


def child_ends_well(function):
    process = os.fork()
    if process == 0:
        signal.alarm(60)  # rather than wait for ever
        os._exit(0 if function() else 1)
    return os.waitpid(process, 0)[1] == 0


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_finds_the_lock_of_an_object_free():
    lock, locked, over = lock_of_an_object(), threading.Event(), threading.Event()

    def hold():
        with lock:
            locked.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    try:
        assert not lock.acquire(blocking=False)
        assert child_ends_well(lambda: lock.acquire(blocking=False))
    finally:
        over.set()
        thread.join()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_calls_in_other_threads():
    states, begun = [], threading.Event()

    @finished_before_fork
    def long():
        begun.set()
        time.sleep(0.1)
        states.append("over")

    thread = threading.Thread(target=long)
    thread.start()
    begun.wait()
    assert child_ends_well(lambda: states == ["over"])
    thread.join()
    long()  # open again
    assert finished_before_fork(lambda: child_ends_well(lambda: True))()  # not for its own
