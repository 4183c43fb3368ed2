"""The strict backend, made by the public interface and registry."""

from typing import Any, ClassVar

import numpy as np

from nnlib_backends import (
    Backend,
    DeviceInfo,
    KernelPair,
    MemoryInfo,
    register_backend,
    registered_backends,
)
from nnlib_backends.common import attention, fused, im2col, recurrent
from nnlib_backends.cupy_backend.graph import GraphTracer
from strict_backend.arrays import StrictArray
from strict_backend.counts import note_transfer
from strict_backend.graphs import StrictGraphs
from strict_backend.kernels import run
from strict_backend.namespace import FIXED

GRAPHS = StrictGraphs()


class StrictBackend(Backend):
    name = "strict"
    xp = FIXED
    array_type = StrictArray
    kernels: ClassVar[dict[str, KernelPair]] = {
        **fused.make_kernels(FIXED),
        **im2col.make_kernels(FIXED),
        **recurrent.make_kernels(FIXED),
        **attention.make_kernels(FIXED),
    }

    def asarray(self, obj: Any, dtype: Any = None, *, copy: bool | None = None) -> StrictArray:
        if isinstance(obj, StrictArray):
            array = run(np.array, obj._array, dtype=dtype, copy=copy)
            return obj if array is obj._array else StrictArray(array)
        if copy is False:
            raise ValueError("a host array cannot get to the device without a copy")
        note_transfer()
        array = np.array(obj, dtype=dtype)
        return StrictArray(array.astype(array.dtype.newbyteorder("=")))  # as in CuPy

    def to_numpy(self, array: StrictArray) -> np.ndarray:
        return array.get()

    def tracer(self) -> GraphTracer:
        return GraphTracer(GRAPHS)

    def memory_of(self, array: StrictArray) -> tuple[Any, int]:
        owner = GRAPHS.owner(array)
        return id(owner), owner.nbytes

    def device_info(self) -> DeviceInfo:
        return DeviceInfo("cpu", "a CPU that behaves like a GPU", 1, 0, {"numpy": np.__version__})

    def memory_info(self) -> MemoryInfo:
        return MemoryInfo(used=0, peak=0, free=0)


def register() -> None:
    """Register the backend ``"strict"``, once."""
    if "strict" not in registered_backends():
        register_backend("strict", lambda device: StrictBackend(), array_module="strict_backend")
