"""Where arrays live: the backends of nnlib and the registry that chooses among them.

nnlib's core holds no array library.  It asks this package for a *backend*: NumPy on the CPU, CuPy
on a CUDA GPU, or one that a third party registers.
"""

from nnlib_backends.base import (
    Backend,
    DeviceInfo,
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
