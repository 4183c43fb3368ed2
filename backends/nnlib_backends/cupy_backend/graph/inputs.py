"""Arguments from the host's memory, brought to the GPU while it still works on the last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnlib_backends.base import Array, Backend, Inputs

__all__ = ["CudaInputs"]

_SLOTS = 2  # one is computed with, the other one filled


@dataclass(eq=False)
class _Slot:
    """A place in pinned memory, and one on the GPU that it is copied to."""

    pinned: Any
    host: Any
    device: Array
    arrived: Any  #: event: the copy to the GPU is done, the pinned memory can be written again
    taken: Any  #: event: the copy into the graph's input is done, the place on the GPU likewise


@dataclass(eq=False)
class _Way:
    """How one argument gets to the GPU."""

    slots: list[_Slot] = field(default_factory=list)
    turn: int = 0


class CudaInputs(Inputs):
    """Copies from the host run in a stream of their own, two batches deep.

    Arrays that are on the GPU already are copied in the caller's stream.

    Parameters
    ----------
    backend : Backend
    arrays : sequence of array
    cupy : module
    device : cupy.cuda.Device
    stream : cupy.cuda.Stream
        To copy in; must not synchronize with the default stream.
    """

    def __init__(
        self, backend: Backend, arrays: Sequence[Array], cupy: Any, device: Any, stream: Any
    ) -> None:
        super().__init__(backend, arrays)
        self._cupy, self._device, self._stream = cupy, device, stream
        self._ways = [_Way() for _ in arrays]

    def fill(self, values: Sequence[Any]) -> None:
        """Copy values; waits for no computation."""
        with self._device:
            for array, value, way in zip(self._arrays, values, self._ways, strict=True):
                if isinstance(value, np.ndarray) and value.nbytes and value.shape == array.shape:
                    self._bring(array, value, way)
                else:
                    array[...] = self._backend.asarray(value)

    def _bring(self, array: Array, value: Any, way: _Way) -> None:
        if not way.slots:
            way.slots = [self._new_slot(array) for _ in range(_SLOTS)]
        slot = way.slots[way.turn]
        way.turn = (way.turn + 1) % _SLOTS
        slot.arrived.synchronize()  # of two calls before
        slot.host[...] = value
        caller = self._cupy.cuda.get_current_stream()
        self._stream.wait_event(slot.taken)
        slot.device.data.copy_from_host_async(slot.pinned.ptr, array.nbytes, self._stream)
        slot.arrived.record(self._stream)
        caller.wait_event(slot.arrived)
        array[...] = slot.device
        slot.taken.record(caller)

    def _new_slot(self, array: Array) -> _Slot:
        cuda = self._cupy.cuda
        pinned = cuda.alloc_pinned_memory(array.nbytes)
        host = np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape)
        arrived, taken = (cuda.Event(disable_timing=True) for _ in range(2))
        place = self._cupy.empty(array.shape, dtype=array.dtype)
        # The caller's stream may still work on what was in this memory before.
        taken.record(cuda.get_current_stream())
        return _Slot(pinned, host, place, arrived, taken)
