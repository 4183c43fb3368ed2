"""CUDA behind the seam, by CuPy: one stream for graphs, one pool for each of them.

Order between streams is kept by events alone: the graphs' stream does not synchronize with the
default stream by itself, for that is an error while something is captured.
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

_SLOTS = 4  # steps whose numbers may be on their way at once
_BOUNDARY = 16  # bytes between which the numbers of different arrays begin


class CudaGraphs(GraphDevice):
    """Records and replays on one GPU.

    Parameters
    ----------
    cupy : module
    device : cupy.cuda.Device
    """

    def __init__(self, cupy: Any, device: Any) -> None:
        self._cupy, self._device = cupy, device
        self.array_type: type = cupy.ndarray
        self.capturing = False  #: whether the device must not be waited for
        self._lock = threading.RLock()  # a stream that captures must see one thread's calls only
        self._pools: weakref.WeakSet[CudaPool] = weakref.WeakSet()
        with device:
            self._event = cupy.cuda.Event(disable_timing=True)
            self._stream = cupy.cuda.Stream(non_blocking=True)

    # Arrays ----------------------------------------------------------------------------------

    def address(self, array: Array) -> int:
        """Return where the first element is."""
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
        """Compute in the graphs' stream, after what the caller asked for and before the rest."""
        with self._lock, self._device:
            caller, stream = self._cupy.cuda.get_current_stream(), self._stream
            self._follow(stream, caller)
            try:
                with stream:
                    yield
            finally:
                self._follow(caller, self._stream)

    def _follow(self, later: Any, earlier: Any) -> None:
        """Have a stream wait for what another has been asked for."""
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
        """What the pools of all recordings have taken from the GPU."""
        return sum(pool.nbytes for pool in self._pools)

    def new_feeder(self, counts: Sequence[int], dtypes: Sequence[Any]) -> CudaScalarInputs:
        """Return a feeder in the graphs' stream, from whose memory it takes a piece."""
        with self.working():
            return CudaScalarInputs(self._cupy, lambda: self._stream, counts, dtypes)

    def capture(self, pool: Pool, run: Callable[[], None]) -> Any:
        """Call a function whose launches are written down instead of done."""
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
                    "what was captured must be a graph that CUDA can build. Received: "
                    f"{error}. Do not compile this function (Trainer: compile=False)"
                ) from error

    def _abandon(self, stream: Any) -> None:
        """Leave a capture that has failed, so that the device can be used again."""
        with suppress(Exception):  # that it cannot be ended well is why we are here
            stream.end_capture()
        self._renew()

    def _renew(self) -> None:
        self._stream = self._cupy.cuda.Stream(non_blocking=True)

    def check(self) -> None:
        """Raise an exception if what was called last has made the capture impossible."""
        if not self._stream.is_capturing():  # CuPy raises if an error has invalidated it
            raise RuntimeError("it has ended the capture")

    def launch(self, graph: Any, before: Callable[[], None]) -> None:
        """Do what a graph holds, after what the caller asked for and before what comes."""
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
        """Wait until everything that was launched is done."""
        self._stream.synchronize()


class CudaPool(Pool):
    """A memory pool of CuPy's that nobody else takes from."""

    def __init__(self, cupy: Any, device: Any) -> None:
        self._cupy, self._device = cupy, device
        self._pool = cupy.cuda.MemoryPool()

    def active(self) -> AbstractContextManager[Any]:
        """Take new arrays from here, in this thread."""
        context: AbstractContextManager[Any] = self._cupy.cuda.using_allocator(self._pool.malloc)
        return context

    @property
    def nbytes(self) -> int:
        """What it has taken from the GPU."""
        with self._device:
            return int(self._pool.total_bytes())


class CudaScalarInputs(ScalarInputs):
    """Numbers on their way through pinned memory, of which a few steps each have a piece.

    Parameters
    ----------
    cupy : module
    stream : callable
        Returns the stream to copy in.
    counts, dtypes
        Of the arrays.
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
        """Copy numbers for each of the arrays; waits only for the step ``_SLOTS`` before."""
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
    """Keep the collector from destroying something of CUDA's in the middle of a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
