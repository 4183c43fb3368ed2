import builtins
import sys

import numpy as np
import pytest

from nnlib_backends import load_backend
from nnlib_backends.numpy_backend import backend as module


@pytest.fixture
def numpy():
    return load_backend("numpy")


def test_asarray_shares_memory_unless_told_otherwise(numpy):
    host = np.zeros(3)
    assert numpy.asarray(host) is host
    assert numpy.asarray(host, dtype="float64") is host
    assert not np.shares_memory(numpy.asarray(host, copy=True), host)
    assert not np.shares_memory(numpy.asarray(host, dtype="float32"), host)


def test_to_numpy_is_a_copy(numpy):
    host = np.zeros(3)
    assert not np.shares_memory(numpy.to_numpy(host), host)


def test_asarray_takes_numbers_and_sequences(numpy):
    assert numpy.asarray(2.5).shape == ()
    assert numpy.asarray(np.float32(2.5)).dtype == np.float32
    assert numpy.asarray([[1, 2]], dtype="float32").tolist() == [[1, 2]]


def test_device_array_comes_by_a_copy_only(numpy):
    array = load_backend("strict").asarray([1.0, 2.0])
    assert numpy.asarray(array).tolist() == [1, 2]
    with pytest.raises(ValueError, match="'strict' cannot be converted without a copy"):
        numpy.asarray(array, copy=False)


def test_foreign_byte_order_comes_by_a_copy_only(numpy):
    swapped = np.arange(3, dtype=np.dtype("f4").newbyteorder())
    assert numpy.asarray(swapped).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="foreign byte order must be copied"):
        numpy.asarray(swapped, copy=False)


def test_memory_is_in_bytes(numpy):
    before = numpy.memory_info()
    ballast = np.ones(20_000_000)
    after = numpy.memory_info()
    assert after.used - before.used > 0.9 * ballast.nbytes
    assert after.peak >= after.used > 10_000_000
    assert after.free > 0


def test_device_info_names_the_blas(numpy):
    info = numpy.device_info()
    assert info.kind == "cpu"
    assert info.name
    assert info.libraries["blas"]
    assert info.details["blas_threads"] >= 1


def test_windows_peak_needs_no_resource_module(numpy, monkeypatch):
    real_import = builtins.__import__

    def without_resource(name, *args, **options):
        if name == "resource":
            raise ModuleNotFoundError(name)
        return real_import(name, *args, **options)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(builtins, "__import__", without_resource)
    memory = type("Memory", (), {"peak_wset": 123})
    assert module._peak_memory(memory) == 123


def test_processor_has_a_name_without_proc(monkeypatch):
    def no_file(*args, **options):
        raise FileNotFoundError

    monkeypatch.setattr(builtins, "open", no_file)
    assert module._processor_name()


def test_namespace_has_the_names_that_star_hides(numpy):
    for name in ("abs", "all", "any", "max", "min", "pow", "round", "sum"):
        assert getattr(numpy.xp, name) is getattr(np, name)
