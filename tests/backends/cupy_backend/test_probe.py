"""Each reason for an unusable GPU, from what CuPy 14.2 raises in that case.

The double of ``cupy`` knows just what the probe asks for.  The statuses and texts were taken from
CuPy 14.2 itself: without a driver, without CUDA's libraries, and on a stub of the driver.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from nnlib_backends import BackendUnavailableError
from nnlib_backends.cupy_backend import load, probe
from nnlib_backends.installing import install_command


class CUDARuntimeError(RuntimeError):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


NO_DRIVER = CUDARuntimeError(
    35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
)
NO_DEVICE = CUDARuntimeError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")
NO_MEMORY = CUDARuntimeError(2, "cudaErrorMemoryAllocation: out of memory")
NEWER_DRIVER = CUDARuntimeError(
    36,
    "cudaErrorCallRequiresNewerDriver: API call is not supported in the installed CUDA driver",
)
MISMATCH = CUDARuntimeError(
    803,
    "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver "
    "combination",
)
STUB = CUDARuntimeError(34, "cudaErrorStubLibrary: CUDA driver is a stub library")
NO_NVRTC = RuntimeError(
    'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13 or '
    "libnvrtc.so.12\n"
)
NO_CUBLAS = ImportError('Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file')
NO_HEADERS = RuntimeError(
    "Failed to find CUDA headers. Please install CUDA toolkit headers (e.g., pip install "
    "cupy-cuda12x[ctk])"
)
NO_LIBCUDA = RuntimeError(
    "CuPy failed to load libcuda.so.1: OSError: libcuda.so.1: cannot open shared object file: "
    "No such file or directory"
)
OLD_IMPORT = ImportError(
    "\n====\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: libnvrtc.so.12: cannot open "
    "shared object file: No such file or directory\n====\n"
)


class OutOfMemoryError(MemoryError):
    pass


class CuBLASError(RuntimeError):
    pass


@pytest.fixture
def machine(monkeypatch):
    """A machine with a GPU; a test takes away what it likes."""
    settings = SimpleNamespace(
        wheels=("cupy-cuda12x",),
        count=lambda: 1,
        driver=12080,
        arange=lambda *args, **options: np.arange(*args, **options),
        entered=[],
    )

    class Device:
        def __init__(self, number):
            self.number = number

        def __enter__(self):
            settings.entered.append(self.number)

        def __exit__(self, *error):
            pass

    cupy = ModuleType("cupy")
    cupy.arange = lambda *args, **options: settings.arange(*args, **options)
    runtime = SimpleNamespace(
        getDeviceCount=lambda: settings.count(),
        driverGetVersion=lambda: settings.driver,
        runtimeGetVersion=lambda: 12090,
    )
    cupy.cuda = SimpleNamespace(runtime=runtime, Device=Device)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(probe, "_installed_wheels", lambda: settings.wheels)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return settings


def raising(error):
    def function(*args, **options):
        raise error

    return function


def refusal(device=0):
    with pytest.raises(BackendUnavailableError) as caught:
        load(device)
    return caught.value


def test_a_working_gpu_passes(machine):
    machine.count = lambda: 2
    probe.probe(1)
    assert machine.entered == [1]


def test_wrong_results_do_not_pass(machine):
    machine.arange = lambda *args, **options: np.zeros(4)
    error = refusal()
    assert error.reason == "probe-failed"
    assert "wrong result" in error.detail


def test_not_installed(machine, monkeypatch):
    machine.wheels = ()
    monkeypatch.setitem(sys.modules, "cupy", None)  # import raises ModuleNotFoundError
    error = refusal()
    assert error.reason == "not-installed"
    assert error.remedy == install_command("cuda12")


def test_files_that_another_wheel_took_along(machine, monkeypatch):
    machine.wheels = ("cupy-cuda13x",)
    monkeypatch.setitem(sys.modules, "cupy", None)
    error = refusal()
    assert error.reason == "not-installed"
    assert "files are gone" in error.detail
    assert error.remedy == "pip install --force-reinstall --no-deps cupy-cuda13x"


def test_two_wheels_are_found_before_cupy_is_imported(machine, monkeypatch):
    machine.wheels = ("cupy-cuda12x", "cupy-cuda13x")
    monkeypatch.setattr(probe, "import_module", raising(AssertionError("imported")))
    error = refusal()
    assert error.reason == "two-wheels"
    assert "cupy-cuda12x and cupy-cuda13x" in error.detail
    assert error.remedy.startswith("pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install")


@pytest.mark.parametrize(
    ("error", "library"),
    [
        (NO_NVRTC, "libnvrtc.so.12"),
        (NO_CUBLAS, "libcublasLt.so.12"),
        (NO_HEADERS, "headers"),
    ],
)
def test_cuda_library_missing_at_first_use(machine, error, library):
    machine.arange = raising(error)
    refused = refusal()
    assert refused.reason == "cuda-library-missing"
    assert library in refused.detail
    assert refused.remedy == install_command("cuda12")
    assert refused.__cause__ is error


def test_cuda_library_missing_at_import(machine, monkeypatch):
    monkeypatch.setattr(probe, "import_module", raising(OLD_IMPORT))
    machine.wheels = ("cupy-cuda13x",)
    error = refusal()
    assert error.reason == "cuda-library-missing"
    assert "libnvrtc.so.12: cannot open shared object file" in error.detail
    assert "\n" not in str(error)
    assert error.remedy == install_command("cuda13")


def test_no_driver_is_an_insufficient_driver_of_version_0(machine):
    machine.count, machine.driver = raising(NO_DRIVER), 0
    error = refusal()
    assert error.reason == "no-driver"
    assert "nvidia-smi" in error.remedy
    assert "docker run --gpus all" in error.remedy


@pytest.mark.parametrize("error", [STUB, NO_LIBCUDA])
def test_no_driver_in_other_words(machine, error):
    machine.count = raising(error)
    assert refusal().reason == "no-driver"


@pytest.mark.parametrize("error", [NO_DRIVER, NEWER_DRIVER])
def test_driver_too_old(machine, error):
    machine.count = raising(error)
    refused = refusal()
    assert refused.reason == "driver-too-old"
    assert "up to 12.8" in refused.detail
    assert "needs 12.9" in refused.detail
    assert "update NVIDIA's driver" in refused.remedy


def test_driver_too_old_for_cuda_13_only(machine):
    machine.count, machine.wheels = raising(NO_DRIVER), ("cupy-cuda13x",)
    assert install_command("cuda12") in refusal().remedy


def test_no_device(machine):
    machine.count = raising(NO_DEVICE)
    error = refusal()
    assert error.reason == "no-device"
    assert "nvidia-smi" in error.remedy


@pytest.mark.parametrize("count", [raising(NO_DEVICE), lambda: 0])
def test_no_device_because_it_is_hidden(machine, monkeypatch, count):
    machine.count = count
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    error = refusal()
    assert error.reason == "no-device"
    assert "CUDA_VISIBLE_DEVICES=''" in error.detail
    assert error.remedy.startswith("unset CUDA_VISIBLE_DEVICES")


def test_no_such_device(machine):
    machine.count = lambda: 2
    error = refusal(2)
    assert (error.reason, error.backend) == ("no-such-device", "cupy:2")
    assert "2 GPUs here, number 0 … 1" in error.detail
    assert '"cupy:1"' in error.remedy


@pytest.mark.parametrize(
    "error",
    [
        NO_MEMORY,
        OutOfMemoryError("Out of memory allocating 512 bytes (allocated so far: 0 bytes)."),
        CuBLASError("CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    ],
)
def test_out_of_memory(machine, error):
    machine.arange = raising(error)
    refused = refusal()
    assert refused.reason == "out-of-memory"
    assert refused.remedy.startswith("nvidia-smi")


@pytest.mark.parametrize("error", [MISMATCH, ValueError("surprise."), OSError(5, "I/O error")])
def test_anything_else(machine, error):
    machine.arange = raising(error)
    refused = refusal()
    assert refused.reason == "probe-failed"
    assert ".)" not in refused.detail
    assert "show_config" in refused.remedy
    assert refused.__cause__ is error


def test_a_module_that_cupy_needs_is_missing(machine, monkeypatch):
    error = ModuleNotFoundError("No module named 'cuda'", name="cuda")
    monkeypatch.setattr(probe, "import_module", raising(error))
    error = refusal()
    assert error.reason == "probe-failed"
    assert "importing CuPy failed (ModuleNotFoundError: No module named 'cuda')" in error.detail


@pytest.mark.parametrize("error", [AttributeError("no bool8"), AssertionError(), KeyError("PATH")])
def test_whatever_the_import_of_cupy_raises(machine, monkeypatch, error):
    monkeypatch.setattr(probe, "import_module", raising(error))
    refused = refusal()
    assert refused.reason == "probe-failed"
    assert f"importing CuPy failed ({type(error).__name__}" in refused.detail
    assert refused.__cause__ is error


def test_whatever_is_wrong_after_the_probe(machine, monkeypatch):
    name = "nnlib_backends.cupy_backend.backend"
    monkeypatch.delitem(sys.modules, name, raising=False)
    refused = refusal()  # the double of CuPy is none that the backend could use
    assert refused.reason == "probe-failed"
    assert isinstance(refused.__cause__, ImportError | AttributeError)
    assert type(refused.__cause__).__name__ in refused.detail


def test_every_reason_is_tested():
    tested = {
        "not-installed", "two-wheels", "cuda-library-missing", "no-driver", "driver-too-old",
        "no-device", "no-such-device", "out-of-memory", "probe-failed",
    }  # fmt: skip
    assert set(BackendUnavailableError.REASONS) == tested


def test_wheels_are_found_by_their_metadata(monkeypatch):
    installed = {"cupy-cuda12x", "cupy"}

    def distribution(name):
        if name not in installed:
            raise probe.PackageNotFoundError(name)

    monkeypatch.setattr(probe, "distribution", distribution)
    assert probe._installed_wheels() == ("cupy", "cupy-cuda12x")
