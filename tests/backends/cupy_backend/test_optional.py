"""A library that cannot be used is done without, whatever it raises, and the reason is kept."""

import sys
from types import ModuleType

import pytest

from nnlib_backends.cupy_backend.cudnn.cudnn_kernels import find_cudnn
from nnlib_backends.cupy_backend.gemm import import_cublaslt
from nnlib_backends.cupy_backend.optional import attempt, driver_version


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Install a package of one line; imports of its name find it first."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(package, line):
        for name in [name for name in sys.modules if name.split(".")[0] == package.split(".")[0]]:
            monkeypatch.delitem(sys.modules, name)
        folder = tmp_path
        for part in package.split("."):
            folder = folder / part
            folder.mkdir()
            (folder / "__init__.py").write_text("")
        (folder / "__init__.py").write_text(line)

    yield made
    for name in [name for name in sys.modules if name.split(".")[0] in ("cudnn", "nvmath")]:
        del sys.modules[name]


FAULTS = {
    "raise ImportError('no libcublasLt.so')": "ImportError: no libcublasLt.so",
    "import sys; sys.no_such_name": "AttributeError: module 'sys' has no attribute 'no_such_name'",
    "assert False": "AssertionError",
    "raise KeyError('CUDA_PATH')": "KeyError: 'CUDA_PATH'",
    "raise RuntimeError('first\\nsecond')": "RuntimeError: first",
}


@pytest.mark.parametrize(("line", "reason"), FAULTS.items())
def test_whatever_the_libraries_raise_when_they_are_imported(install, line, reason):
    install("cudnn", line)
    assert find_cudnn() == (None, f"cuDNN or its frontend cannot be loaded ({reason})")
    install("nvmath.bindings.cublasLt", line)
    assert attempt(import_cublaslt) == (None, reason)


def test_a_library_that_cannot_tell_its_version_is_none(install):
    install("cudnn", "def backend_version(): raise AssertionError('no library')")
    assert "AssertionError: no library" in find_cudnn()[1]
    install("nvmath.bindings.cublasLt", "def get_version(): raise AssertionError('no library')")
    assert attempt(import_cublaslt) == (None, "AssertionError: no library")


def test_bindings_that_work(install):
    install("nvmath.bindings.cublasLt", "def get_version(): return 120902")
    bindings, reason = attempt(import_cublaslt)
    assert (bindings.get_version(), reason) == (120902, "")


@pytest.mark.parametrize("version", ["580.65.06", b"580.65.06"])
def test_the_driver_tells_its_version(monkeypatch, version):
    calls = []
    nvml = ModuleType("pynvml")
    nvml.nvmlInit, nvml.nvmlShutdown = (lambda: calls.append("on")), (lambda: calls.append("off"))
    nvml.nvmlSystemGetDriverVersion = lambda: version
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert attempt(driver_version) == ("580.65.06", "")
    assert calls == ["on", "off"]
    del nvml.nvmlSystemGetDriverVersion
    found, reason = attempt(driver_version)
    assert found is None
    assert reason.startswith("AttributeError: ")
    assert calls == ["on", "off"] * 2
