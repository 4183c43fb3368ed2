"""What all tests share: every backend, a fresh start for each test, and the gpu mark."""

import gc
import os
import signal

import pytest
import strict_backend

from nnlib_backends import BackendUnavailableError, load_backend, registry, use_backend

strict_backend.register()

GPU = pytest.param("cupy", marks=pytest.mark.gpu)


@pytest.fixture(autouse=True)
def _fresh_start(monkeypatch):
    """No test sees another's choice of backend or position in the random stream."""
    monkeypatch.delenv("NNLIB_BACKEND", raising=False)
    monkeypatch.setattr(registry, "_default", None)
    import nnlib

    nnlib.manual_seed(0)


@pytest.fixture(params=["numpy", "strict", GPU])
def backend(request):
    """Each backend in turn; new arrays of the test go there."""
    with use_backend(request.param) as chosen:
        yield chosen


@pytest.fixture
def control_c():
    """A function that presses Ctrl-C, also where SIGINT is ignored: in the background, by nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def pytest_collection_finish(session):
    """The tests themselves are no garbage: no collection shall look at their objects again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Skip what needs a GPU, where there is none, with the reason and the remedy."""
    if item.get_closest_marker("gpu"):
        try:
            load_backend("cupy")
        except BackendUnavailableError as error:
            pytest.skip(str(error))
