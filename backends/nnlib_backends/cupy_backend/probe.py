"""Test whether a GPU can be used; if not, find the reason and the command that fixes it.

CuPy 14 can be imported without a driver and without CUDA's libraries, so the probe also compiles
and launches a kernel, computes a matrix product, and reads both results.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, NoReturn

from nnlib_backends.errors import BackendUnavailableError
from nnlib_backends.installing import install_command

WHEELS = (
    "cupy",
    "cupy-cuda11x",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "cupy-cuda14x",
    "cupy-rocm-5-0",
    "cupy-rocm-6-0",
    "cupy-rocm-7-0",
    "amd-cupy",
)  # they share one folder, so that two of them overwrite each other

_NO_DRIVER_REMEDY = (
    "install NVIDIA's driver (Ubuntu: sudo ubuntu-drivers install; in a container: docker run "
    "--gpus all …), then check that nvidia-smi lists the GPU."
)
_NO_DEVICE_REMEDY = "check that nvidia-smi lists the GPU; after a driver update, reboot."
_MEMORY_REMEDY = (
    "nvidia-smi  # shows the processes on the GPU: end one of them, or use another GPU with "
    "NNLIB_BACKEND=cupy:1."
)
_UNKNOWN_REMEDY = (
    "python -c 'import cupy; cupy.show_config()'  # and look the message up; after a driver "
    "update, reboot."
)

# cudaError_t
_MEMORY_ALLOCATION = 2
_STUB_LIBRARY = 34
_INSUFFICIENT_DRIVER = 35
_NEWER_DRIVER_NEEDED = 36
_NO_DEVICE = 100
_INVALID_DEVICE = 101
_UNSUPPORTED_PTX = 222
_COMPAT_NOT_SUPPORTED = 804
_DRIVER_TOO_OLD = (
    _INSUFFICIENT_DRIVER,
    _NEWER_DRIVER_NEEDED,
    _UNSUPPORTED_PTX,
    _COMPAT_NOT_SUPPORTED,
)

_DRIVER_LIBRARY = re.compile(r"libcuda\.so|nvcuda\.dll")
_MISSING_LIBRARY = re.compile(
    r"Failure finding"  # cuda-pathfinder, by which CuPy 14 finds NVRTC, cuBLAS, …
    r"|cannot open shared object file|Could not find module|DLL load failed"  # the loader
    r"|Failed to find CUDA headers|cannot open source file"  # NVRTC is there, CUDA's headers not
)
_OUT_OF_MEMORY = re.compile(r"OUT_OF_MEMORY|ALLOC_FAILED|Out of memory")


def probe(device: int) -> None:
    """Return if the GPU can compute.

    Parameters
    ----------
    device : int
        Number of the GPU.

    Raises
    ------
    BackendUnavailableError
        Otherwise, with the reason.
    """
    name = f"cupy:{device}" if device else "cupy"
    wheels = _installed_wheels()
    if len(wheels) > 1:
        raise BackendUnavailableError(
            name,
            "two-wheels",
            f"{' and '.join(wheels)} are installed side by side and overwrite each other's files.",
            f"pip uninstall -y {' '.join(wheels)} && {_install(wheels)}",
        )
    try:
        cupy = import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            _raise(name, error, wheels)
        raise BackendUnavailableError(name, *_not_installed(wheels)) from None
    except Exception as error:  # noqa: BLE001 - becomes a BackendUnavailableError
        _raise(name, error, wheels)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if device >= count:
            _raise_no_such_device(name, count)
        with cupy.cuda.Device(device):
            _compute(cupy)
    except BackendUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - becomes a BackendUnavailableError
        _raise(name, error, wheels, cupy)


def refuse(device: int, error: Exception) -> NoReturn:
    """Raise `BackendUnavailableError` for an error after the probe.

    Parameters
    ----------
    device : int
        Number of the GPU.
    error : Exception
    """
    name = f"cupy:{device}" if device else "cupy"
    _raise(name, error, _installed_wheels(), import_module("cupy"))


def _not_installed(wheels: tuple[str, ...]) -> tuple[str, str, str]:
    if wheels:  # uninstalling a second wheel removed the files of this one
        return (
            "not-installed",
            f"{wheels[0]} is listed as installed, but its files are gone.",
            f"pip install --force-reinstall --no-deps {wheels[0]}",
        )
    return "not-installed", "CuPy is not installed.", _install(wheels)


def _compute(cupy: Any) -> None:
    """Launch an elementwise kernel and a matrix product, and read both results."""
    x = cupy.arange(4, dtype="float32").reshape(2, 2) * 2 + 1  # [[1, 3], [5, 7]]
    if x.tolist() != [[1, 3], [5, 7]] or (x @ x).tolist() != [[16, 24], [40, 64]]:
        raise ArithmeticError("a first computation on the GPU gave a wrong result")


def _raise_no_such_device(name: str, count: int) -> NoReturn:
    if not count:
        _raise_no_device(name)
    numbers = "0" if count == 1 else f"0 … {count - 1}"
    raise BackendUnavailableError(
        name,
        "no-such-device",
        f"CUDA shows {count} GPU{'s' if count > 1 else ''} here, number {numbers}"
        f"{_visible_devices()}.",
        'use "cupy", the first GPU' + (f', or up to "cupy:{count - 1}".' if count > 1 else "."),
    )


def _raise_no_device(name: str) -> NoReturn:
    visible = _visible_devices()
    remedy = "unset CUDA_VISIBLE_DEVICES  # or set it to the GPU's number." if visible else ""
    raise BackendUnavailableError(
        name,
        "no-device",
        f"the NVIDIA driver is there, but shows no GPU{visible}.",
        remedy or _NO_DEVICE_REMEDY,
    )


def _raise(name: str, error: BaseException, wheels: tuple[str, ...], cupy: Any = None) -> NoReturn:
    """Raise `BackendUnavailableError` with the reason of an error of CuPy's."""
    reason, detail, remedy = _classify(name, error, wheels, cupy)
    raise BackendUnavailableError(name, reason, detail, remedy) from error


def _classify(
    name: str, error: BaseException, wheels: tuple[str, ...], cupy: Any
) -> tuple[str, str, str]:
    status = getattr(error, "status", None)  # of CUDARuntimeError, a cudaError_t
    text = _first_line(error)
    if status == _STUB_LIBRARY or _DRIVER_LIBRARY.search(text):
        return "no-driver", f"there is no NVIDIA driver ({text}).", _NO_DRIVER_REMEDY
    if status in _DRIVER_TOO_OLD and cupy is not None:
        return _driver_reason(text, wheels, cupy)
    if status in (_NO_DEVICE, _INVALID_DEVICE):
        _raise_no_device(name)
    if (
        status == _MEMORY_ALLOCATION
        or isinstance(error, MemoryError)
        or _OUT_OF_MEMORY.search(text)
    ):
        return "out-of-memory", f"the GPU's memory is full ({text}).", _MEMORY_REMEDY
    if _MISSING_LIBRARY.search(str(error)):
        return (
            "cuda-library-missing",
            f"CuPy is installed, but a part of CUDA that it needs is not ({text}).",
            _install(wheels),
        )
    what = "importing CuPy" if cupy is None else "a first computation on the GPU"
    detail = f"{what} failed ({described(error).rstrip('.')})."
    return "probe-failed", detail, _UNKNOWN_REMEDY


def _driver_reason(text: str, wheels: tuple[str, ...], cupy: Any) -> tuple[str, str, str]:
    """Return reason, detail and remedy; CUDA reports a missing driver as one of version 0."""
    runtime = cupy.cuda.runtime
    driver = runtime.driverGetVersion()
    if driver == 0:
        return "no-driver", "there is no NVIDIA driver on this machine.", _NO_DRIVER_REMEDY
    remedy = "update NVIDIA's driver (Ubuntu: sudo ubuntu-drivers install) and reboot"
    if driver >= 12000 and "cupy-cuda13x" in wheels:
        remedy += (
            ", or take the CuPy that fits it: pip uninstall -y cupy-cuda13x && "
            + install_command("cuda12")
        )
    return (
        "driver-too-old",
        f"the NVIDIA driver supports CUDA up to {_version(driver)}, CuPy needs "
        f"{_version(runtime.runtimeGetVersion())} ({text}).",
        remedy + ".",
    )


def _installed_wheels() -> tuple[str, ...]:
    found = []
    for wheel in WHEELS:
        try:
            distribution(wheel)
        except PackageNotFoundError:
            continue
        found.append(wheel)
    return tuple(found)


def install_all() -> str:
    """Return the pip command that installs all libraries that the CuPy backend uses."""
    return _install(_installed_wheels())


def _install(wheels: tuple[str, ...]) -> str:
    """Return the pip command for CUDA 12, which needs no new driver, or 13 if it is installed."""
    extra = "cuda13" if wheels and wheels[-1] == "cupy-cuda13x" else "cuda12"
    return install_command(extra)


def _visible_devices() -> str:
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if value is None else f" (CUDA_VISIBLE_DEVICES={value!r})"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def described(error: BaseException) -> str:
    """Return an exception's class and the relevant line of its message."""
    name, text = type(error).__name__, _first_line(error)
    return name if text == name else f"{name}: {text}"


def _first_line(error: BaseException) -> str:
    """Return the loader's line of a message, which CuPy surrounds with a page of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip("= ")]
    telling = [line for line in lines if _MISSING_LIBRARY.search(line)]
    return (telling or lines or [type(error).__name__])[0]
