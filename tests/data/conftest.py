"""Real data for tests, where it is, and written look-alikes everywhere else."""

import gzip
import os
import struct
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_root():
    """The folder of real data sets; the test is skipped where there is none."""
    candidates = [os.environ.get("NNLIB_DATA"), CHECKOUT.parent / "shared" / "data"]
    for candidate in candidates:
        if candidate and Path(candidate, "mnist").is_dir():
            return Path(candidate)
    pytest.skip("real data needed: set NNLIB_DATA to a folder that holds mnist/ with its IDX files")


@pytest.fixture(scope="session")
def idx_bytes():
    """A function: array of bytes → content of an IDX file."""

    def content(array):
        array = np.asarray(array, np.uint8)
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        return header + array.tobytes()

    return content


@pytest.fixture
def peak_memory():
    """A block that may take so many bytes of Python's and NumPy's memory at once."""

    @contextmanager
    def measured(limit):
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < limit
        finally:
            tracemalloc.stop()

    return measured


@pytest.fixture
def small_mnist(tmp_path, idx_bytes):
    """A folder with a small MNIST look-alike, packed: 7 training and 3 test images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "sets" / "mnist"
    folder.mkdir(parents=True)
    for part, count in (("train", 7), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28))
        labels = rng.integers(0, 10, count)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_bytes(array)))
    return folder


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No data set in sight: an empty cache, no NNLIB_DATA, and a network that is down.

    Returns the list of addresses that were asked for.
    """
    import requests

    asked = []

    def get(url, **options):
        asked.append(url)
        raise requests.ConnectionError("the network is unreachable")

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NNLIB_DATA", raising=False)
    return asked
