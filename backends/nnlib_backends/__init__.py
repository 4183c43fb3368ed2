"""Where arrays live: the backends of nnlib and the registry that chooses among them.

nnlib's core holds no array library.  It asks this package for a *backend*: NumPy on the CPU, CuPy
on a CUDA GPU, or one that a third party registers.
"""

from nnlib_backends.contract import (
    Backend,
    DeviceInfo,
    Kernel,
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

__all__ = [
    "Backend",
    "BackendError",
    "BackendMismatchError",
    "BackendUnavailableError",
    "DeviceInfo",
    "Kernel",
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
