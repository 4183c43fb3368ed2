"""`Backend.xp` of the CuPy backend: CuPy's functions, replaced where they differ from NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import cupy
from cupy import *  # noqa: F403
from cupy import abs, all, any, max, min, pow, round, sum  # noqa: F401 - for readers of the names
from cupy.lib.stride_tricks import sliding_window_view  # noqa: F401
from cupyx.scipy import special

from nnlib_backends.cupy_backend.concatenate import make_joins
from nnlib_backends.cupy_backend.kernels.launch import Launcher
from nnlib_backends.cupy_backend.kernels.nvrtc import CudaDriver
from nnlib_backends.cupy_backend.kernels.sorting import sort_indices
from nnlib_backends.cupy_backend.linalg import HostLinalg
from nnlib_backends.cupy_backend.numpy_compat import make_functions

_launchers: dict[int, Launcher] = {}  # number of a GPU → launcher of the sort


def _sort(indices: Any, entries: int) -> tuple[Any, Any]:
    number = indices.data.device_id
    if number not in _launchers:
        _launchers[number] = Launcher(cupy, CudaDriver())
    return sort_indices(_launchers[number], indices, entries)


_replaced = make_functions(cupy, special, _sort)
globals().update(_replaced)

concatenate, stack = make_joins(cupy)
linalg = HostLinalg(cupy, cupy.linalg)

#: Counters that `philox4x32` computes in one launch: temporaries of 16 MiB each.
philox_chunk = 1 << 21


#: Number of a GPU → `nnlib_backends.cupy_backend.gemm.CublasGemm`.
products: dict[int, Any] = {}


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """``a @ b``, by a GEMM that a CUDA graph can capture where there is one."""
    own = products.get(a.data.device_id) if isinstance(a, cupy.ndarray) else None
    if own is not None:
        return own.matmul(a, b, out)
    return cupy.matmul(a, b, out=out)


def dot(a: Any, b: Any) -> Any:
    """``numpy.dot``, see `matmul`."""
    if getattr(a, "ndim", 0) == getattr(b, "ndim", 0) == 1:
        return _replaced["vdot"](a, b)
    own = products.get(a.data.device_id) if isinstance(a, cupy.ndarray) else None
    return cupy.dot(a, b) if own is None else own.dot(a, b)


class DeviceNamespace:
    """`Backend.xp` of a GPU other than the first.

    CuPy allocates on the thread's current device, whatever the device of the arguments, so each
    function makes its device current while it runs.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self.linalg = HostLinalg(self, cupy.linalg)

    def __getattr__(self, name: str) -> Any:
        item = globals()[name] if name in globals() else getattr(cupy, name)
        if isinstance(item, cupy.ufunc) or (callable(item) and not isinstance(item, type)):
            item = _on(self._device, item)
        setattr(self, name, item)
        return item


def _on(device: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function, updated=())
    def call(*args: Any, **options: Any) -> Any:
        with device:
            return function(*args, **options)

    if isinstance(function, cupy.ufunc):
        for method in ("at", "outer", "reduce", "accumulate", "reduceat"):
            setattr(call, method, _on(device, getattr(function, method)))
    return call
