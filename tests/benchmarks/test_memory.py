import sys

import numpy as np
import pytest

import nnlib
from nnlib_benchmarks import memory
from nnlib_benchmarks.memory import PeakMemory


@pytest.fixture
def numpy_backend():
    with nnlib.use_backend("numpy") as backend:
        yield backend


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forgets its peak")
def test_the_peak_is_of_this_piece_of_work(numpy_backend):
    np.ones(2**26, np.uint8).sum()  # 64 MiB, gone before the measurement begins
    if not memory.reset_host_peak():
        pytest.skip("this system does not let a process forget its peak")
    meter = PeakMemory(numpy_backend, "cpu")
    small = meter.bytes() - meter.before

    np.ones(2**26, np.uint8).sum()

    assert small < 2**24
    assert meter.bytes() - meter.before > 0.9 * 2**26
    meter.forget()
    assert meter.bytes() - meter.before < 2**24


def test_without_proc_the_backend_tells(numpy_backend, monkeypatch):
    monkeypatch.setattr(memory, "host_peak", lambda: None)
    meter = PeakMemory(numpy_backend, "cpu")
    assert meter.bytes() == numpy_backend.memory_info().peak


def test_a_gpu_is_asked_for_its_own_peak(gpu_like):
    with nnlib.use_backend("strict") as backend:
        meter = PeakMemory(backend, "gpu")
    assert (meter.before, meter.bytes()) == (10, 77)
