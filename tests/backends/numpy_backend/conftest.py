import importlib.util
import pkgutil

import numpy as np
import pytest

from nnlib_backends.numpy_backend import launch


def modules():
    """Return every module that launches kernels; none where Numba is missing."""
    found = [launch]
    if importlib.util.find_spec("numba"):
        for name in ("codegen", "kernels"):
            package = importlib.import_module(f"nnlib_backends.numpy_backend.{name}")
            rows = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
            found += [importlib.import_module(row.name) for row in rows]
    return found


def replace(monkeypatch, name, function):
    for module in modules():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, function)


@pytest.fixture(params=[1, 2, 3], ids="{} threads".format)
def threads(request, monkeypatch):
    """So many threads, whatever the size."""
    count = request.param
    replace(monkeypatch, "split", lambda items, least=1: max(1, min(count, items)))
    replace(monkeypatch, "thread_count", lambda: count)
    return count


@pytest.fixture
def poisoned(monkeypatch):
    """Fresh memory that holds NaN, or addresses that cannot be."""

    def empty(shape, dtype=np.float32):
        memory = np.empty(shape, dtype)
        memory.reshape(-1).view(np.uint8)[:] = 0xFF if dtype == np.float32 else 0x7F
        return memory

    replace(monkeypatch, "empty", empty)
