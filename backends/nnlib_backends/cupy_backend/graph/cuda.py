"""`GraphDevice` by CuPy: one stream for all graphs, one memory pool for each.

The graphs' stream is non-blocking, because synchronizing with the default stream is an error during
capture; so streams are ordered by events alone.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from nnlib_backends.base import Array
from nnlib_backends.common.trace import View
from nnlib_backends.cupy_backend.graph.device import GraphDevice, Pool, ScalarInputs
from nnlib_backends.errors import CaptureError

__all__ = ["CudaGraphs", "CudaPool", "CudaScalarInputs"]

_SLOTS = 4  # steps whose scalar inputs may be in transfer at once
_BOUNDARY = 16  # alignment in bytes of each array of scalar inputs


class CudaGraphs(GraphDevice):
    """Capture and launch of CUDA graphs on one GPU.

    Parameters
    ----------
    cupy : module
    device : cupy.cuda.Device
    """

    def __init__(self, cupy: Any, device: Any) -> None:
        self._cupy, self._device = cupy, device
        self.array_type: type = cupy.ndarray
        self.capturing = False  #: whether synchronizing with the device is an error
        self._lock = threading.RLock()  # only one thread may use a stream that captures
        self._pools: weakref.WeakSet[CudaPool] = weakref.WeakSet()
        with device:
            self._event = cupy.cuda.Event(disable_timing=True)
            self._stream = cupy.cuda.Stream(non_blocking=True)

    # Arrays ----------------------------------------------------------------------------------

    def address(self, array: Array) -> int:
        """Return the address of the first element."""
        return int(array.data.ptr)

    def to_host(self, array: Array) -> Any:
        """Return a copy in the host's memory."""
        return array.get()

    def belongs(self, array: Array, owner: Any) -> bool:
        """Tell whether an array lies in an owner's memory."""
        return array.data.mem is owner.data.mem

    def at(self, owner: Any, view: View) -> Array:
        """Return the array that a view describes, in an owner's memory."""
        pointer = owner.data + view.offset
        dtype = np.dtype(view.dtype)
        return self._cupy.ndarray(view.shape, dtype, memptr=pointer, strides=view.strides)

    def copied(self, numbers: Sequence[float], dtype: Any) -> Array:
        """Return a new array of these numbers."""
        return self._cupy.array(np.array(numbers, dtype=dtype))

    # Driver ----------------------------------------------------------------------------------

    @contextmanager
    def working(self) -> Iterator[None]:
        """Compute in the graphs' stream, ordered with the caller's stream."""
        with self._lock, self._device:
            caller, stream = self._cupy.cuda.get_current_stream(), self._stream
            self._follow(stream, caller)
            try:
                with stream:
                    yield
            finally:
                self._follow(caller, self._stream)

    def _follow(self, later: Any, earlier: Any) -> None:
        """Make a stream wait for the work submitted to another."""
        if later.ptr != earlier.ptr:
            self._event.record(earlier)
            later.wait_event(self._event)

    def new_pool(self) -> CudaPool:
        """Return an empty pool."""
        pool = CudaPool(self._cupy, self._device)
        self._pools.add(pool)
        return pool

    @property
    def nbytes(self) -> int:
        """Memory of the pools of all programs, in bytes."""
        return sum(pool.nbytes for pool in self._pools)

    def new_scalar_inputs(self, counts: Sequence[int], dtypes: Sequence[Any]) -> CudaScalarInputs:
        """Return arrays for scalar inputs, see `GraphDevice.new_scalar_inputs`."""
        with self.working():
            return CudaScalarInputs(self._cupy, lambda: self._stream, counts, dtypes)

    def capture(self, pool: Pool, run: Callable[[], None]) -> Any:
        """Call a function and return a graph of its launches, which are not carried out."""
        with self.working(), pool.active(), _no_garbage_collection():
            stream = self._stream
            stream.begin_capture()  # relaxed: the pool may still have to grow
            self.capturing = True
            try:
                run()
            except BaseException:
                self._abandon(stream)
                raise
            finally:
                self.capturing = False
            try:
                return stream.end_capture()
            except Exception as error:
                self._renew()
                raise CaptureError(
                    "captured work must be a graph that CUDA can build. Received: "
                    f"{error}. Do not compile this function (Trainer: compile=False)"
                ) from error

    def _abandon(self, stream: Any) -> None:
        """End a failed capture, so that the device can be used again."""
        with suppress(Exception):  # ending a failed capture can fail, too
            stream.end_capture()
        self._renew()

    def _renew(self) -> None:
        self._stream = self._cupy.cuda.Stream(non_blocking=True)

    def check(self) -> None:
        """Raise an exception if the last call has invalidated the capture."""
        if not self._stream.is_capturing():  # CuPy raises if an error has invalidated it
            raise RuntimeError("it has ended the capture")

    def launch(self, graph: Any, before: Callable[[], None]) -> None:
        """Launch a graph, ordered with the caller's stream."""
        with self._lock, self._device:
            before()
            caller = self._cupy.cuda.get_current_stream()
            self._follow(self._stream, caller)
            graph.launch(self._stream)
            self._follow(caller, self._stream)

    def seconds(self, graph: Any, before: Callable[[], None]) -> float:
        """Launch a graph, wait for it, and return its time on the GPU."""
        with self._lock, self._device:
            before()
            begin, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
            begin.record(self._stream)
            graph.launch(self._stream)
            end.record(self._stream)
            end.synchronize()
            return float(self._cupy.cuda.get_elapsed_time(begin, end)) / 1000

    def synchronize(self) -> None:
        """Wait until the graphs' stream has finished."""
        self._stream.synchronize()


class CudaPool(Pool):
    """A memory pool of CuPy's."""

    def __init__(self, cupy: Any, device: Any) -> None:
        self._cupy, self._device = cupy, device
        self._pool = cupy.cuda.MemoryPool()

    def active(self) -> AbstractContextManager[Any]:
        """Allocate new arrays of this thread from the pool."""
        context: AbstractContextManager[Any] = self._cupy.cuda.using_allocator(self._pool.malloc)
        return context

    @property
    def nbytes(self) -> int:
        """Memory that the pool has allocated, in bytes."""
        with self._device:
            return int(self._pool.total_bytes())


class CudaScalarInputs(ScalarInputs):
    """Scalar inputs copied through pinned memory, which has a slot for each of a few steps.

    Parameters
    ----------
    cupy : module
    stream : callable
        Returns the stream to copy in.
    counts, dtypes
        Lengths and dtypes of the arrays.
    """

    def __init__(
        self,
        cupy: Any,
        stream: Callable[[], Any],
        counts: Sequence[int],
        dtypes: Sequence[Any],
    ) -> None:
        self._stream = stream
        sizes = [n * np.dtype(dtype).itemsize for n, dtype in zip(counts, dtypes, strict=True)]
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + -(-size // _BOUNDARY) * _BOUNDARY)
        self.nbytes = starts.pop()
        self._target = cupy.empty((self.nbytes,), dtype=np.uint8)
        self.arrays = [
            cupy.ndarray((count,), np.dtype(dtype), memptr=self._target.data + start)
            for count, dtype, start in zip(counts, dtypes, starts, strict=True)
        ]
        self._slots = []
        for _ in range(_SLOTS):
            pinned = cupy.cuda.alloc_pinned_memory(self.nbytes)
            block = np.frombuffer(pinned, np.uint8, self.nbytes)
            views = [
                block[start : start + size].view(dtype)
                for start, size, dtype in zip(starts, sizes, dtypes, strict=True)
            ]
            event = cupy.cuda.Event(disable_timing=True)
            self._slots.append((pinned, views, event))
        self._turn = 0

    def send(self, numbers: Sequence[Sequence[float]]) -> None:
        """Copy numbers to each of the arrays; waits only for the step ``_SLOTS`` before."""
        pinned, views, event = self._slots[self._turn]
        self._turn = (self._turn + 1) % _SLOTS
        event.synchronize()
        for view, values in zip(views, numbers, strict=True):
            view[:] = values
        stream = self._stream()
        self._target.data.copy_from_host_async(pinned.ptr, self.nbytes, stream)
        event.record(stream)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disable garbage collection, which could destroy a CUDA object during a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
