"""The backends of nnlib, NumPy (CPU), CuPy (CUDA) and third parties', and their registry."""

from nnlib_backends.base import (
    Backend,
    DeviceInfo,
    GradOut,
    Kernel,
    KernelPair,
    MemoryInfo,
    PrimitiveKernel,
    Timer,
)
from nnlib_backends.errors import (
    BackendError,
    BackendMismatchError,
    BackendUnavailableError,
    NnlibError,
    UnknownBackendError,
)
from nnlib_backends.registry import (
    available_backends,
    backend_info,
    backend_of,
    get_backend,
    load_backend,
    register_backend,
    registered_backends,
    set_backend,
    use_backend,
)


def _make_numpy_backend(device: int) -> Backend:
    from nnlib_backends.numpy_backend import NumpyBackend

    if device:
        raise BackendUnavailableError(
            f"numpy:{device}", "no-such-device", "the CPU counts as one device.", 'use "numpy".'
        )
    return NumpyBackend()


def _make_cupy_backend(device: int) -> Backend:
    from nnlib_backends.cupy_backend import load

    return load(device)


register_backend("numpy", _make_numpy_backend, array_module="numpy")
register_backend("cupy", _make_cupy_backend, array_module="cupy")

__all__ = [
    "Backend",
    "BackendError",
    "BackendMismatchError",
    "BackendUnavailableError",
    "DeviceInfo",
    "GradOut",
    "Kernel",
    "KernelPair",
    "MemoryInfo",
    "NnlibError",
    "PrimitiveKernel",
    "Timer",
    "UnknownBackendError",
    "available_backends",
    "backend_info",
    "backend_of",
    "get_backend",
    "load_backend",
    "register_backend",
    "registered_backends",
    "set_backend",
    "use_backend",
]
