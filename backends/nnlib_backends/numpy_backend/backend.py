"""The NumPy backend."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nnlib_backends.base import (
    Array,
    Backend,
    DeviceInfo,
    KernelPair,
    MemoryInfo,
    PrimitiveKernel,
)
from nnlib_backends.config import NUM_THREADS
from nnlib_backends.interop import from_library
from nnlib_backends.numpy_backend import kernel_choice, namespace
from nnlib_backends.numpy_backend.launch import thread_count
from nnlib_backends.numpy_backend.tracer import NumpyTracer
from nnlib_backends.registry import owner_of

_HOST_TYPES = (np.ndarray, np.generic, float, int, list, tuple)  # no arrays of another backend


class NumpyBackend(Backend):
    """Arrays in the host's memory.

    Examples
    --------
    >>> backend = NumpyBackend()
    >>> backend.asarray([1.0, 2.0])
    array([1., 2.])
    """

    name = "numpy"
    xp = namespace
    array_type = np.ndarray
    host_memory = True

    def __init__(self) -> None:
        if NUM_THREADS.get():  # for NumPy's own matrix products
            from threadpoolctl import threadpool_limits

            threadpool_limits(limits=thread_count(), user_api="blas")

    # At first use, because this imports Numba and compiles.
    @cached_property
    def kernels(self) -> Mapping[str, KernelPair]:  # type: ignore[override]
        """Name of a fused operation → `KernelPair`."""
        return kernel_choice.kernels()

    @cached_property
    def primitives(self) -> Mapping[str, PrimitiveKernel]:  # type: ignore[override]
        """Name of a primitive → `PrimitiveKernel`."""
        return kernel_choice.primitives()

    @cached_property
    def updates(self) -> Mapping[str, Callable[..., Any]]:  # type: ignore[override]
        """Name → function that changes arrays in place, see `Backend`."""
        return kernel_choice.updates()

    def asarray(self, obj: Any, dtype: Any = None, *, copy: bool | None = None) -> Array:
        """Convert to a NumPy array; an array of another backend is copied to the host.

        Parameters
        ----------
        obj : array, number or nested sequence
        dtype : dtype, optional
            Convert to it.
        copy : bool, optional
            ``True``: always copy.  ``None``: only if needed.  ``False``: never.

        Raises
        ------
        ValueError
            If ``copy=False`` and a copy is needed.

        Examples
        --------
        >>> x = np.zeros(3)
        >>> NumpyBackend().asarray(x) is x
        True
        """
        if not isinstance(obj, _HOST_TYPES):
            owner = owner_of(obj)
            if owner is not None:
                if copy is False:
                    raise ValueError(
                        f"an array of {owner.name!r} cannot be converted without a copy. "
                        "Use copy=None"
                    )
                return np.asarray(owner.to_numpy(obj), dtype=dtype)
            obj = from_library(obj)
        array = np.array(obj, dtype=dtype, copy=copy)
        if array.dtype.isnative:
            return array
        if copy is False:
            raise ValueError("an array in foreign byte order must be copied. Use copy=None")
        return array.astype(array.dtype.newbyteorder("="))  # kernels need native byte order

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Return a copy."""
        return np.array(array)

    def inside(self, array: Array, low: float, high: float) -> Callable[[], bool]:
        """Return a function that tells whether all values of an array lie in low … high now."""
        if array.dtype.char == "l" and low == 0 and array.size:
            unsigned = array.view(np.uint64)  # negative numbers are huge, so one bound is enough
            # not `max`, which is a Python function in NumPy
            return lambda: unsigned.item(unsigned.argmax()) <= high
        return super().inside(array, low, high)

    def tracer(self) -> NumpyTracer:
        """Return a new tracer."""
        return NumpyTracer()

    def device_info(self) -> DeviceInfo:
        """Describe the processor, its memory, the BLAS behind NumPy and the kernels."""
        import psutil
        from threadpoolctl import threadpool_info

        blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        blas.sort(key=lambda pool: "numpy.libs" not in pool["filepath"])  # NumPy's before SciPy's
        libraries = {"numpy": np.__version__}
        if blas:
            libraries["blas"] = f"{blas[0]['internal_api']} {blas[0]['version']}"
        return DeviceInfo(
            kind="cpu",
            name=_processor_name(),
            cores=_usable_cores(),
            memory_bytes=psutil.virtual_memory().total,
            libraries=libraries,
            details={
                "blas_threads": blas[0]["num_threads"] if blas else None,
                "blas_architecture": blas[0].get("architecture") if blas else None,
                "compiled": kernel_choice.compiled_kernels()[0] is not None,
                "kernels": kernel_choice.compilation(),
            },
        )

    def memory_info(self) -> MemoryInfo:
        """Memory of this process: resident now, its highest ever, and free on the machine."""
        import psutil

        memory = psutil.Process().memory_info()
        return MemoryInfo(
            used=memory.rss,
            # read at two instants, so the peak may be the smaller one
            peak=max(memory.rss, _peak_memory(memory)),
            free=psutil.virtual_memory().available,
        )


def _peak_memory(memory: Any) -> int:
    """Highest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":  # has no `resource`; only there psutil has the peak
        return int(memory.peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _usable_cores() -> int:
    """Number of cores that this process may run on; containers and taskset can limit them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
