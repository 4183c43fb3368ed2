"""Copying arguments from the host while the GPU still computes the previous step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnlib_backends.base import Array, Backend, Inputs

__all__ = ["CudaInputs"]

_SLOTS = 2  # one is read by the step that runs, the other is filled


@dataclass(eq=False)
class _Slot:
    """Pinned memory, and an array on the GPU that it is copied to."""

    pinned: Any
    host: Any
    device: Array
    arrived: Any  #: event: the copy to the GPU is done, so the pinned memory can be written again
    taken: Any  #: event: the copy into the input is done, so ``device`` can be written again


@dataclass(eq=False)
class _Transfer:
    """The slots of one argument."""

    slots: list[_Slot] = field(default_factory=list)
    turn: int = 0


class CudaInputs(Inputs):
    """Double-buffered copies from the host in a stream of their own.

    Arrays on the GPU are copied in the caller's stream.

    Parameters
    ----------
    backend : Backend
    arrays : sequence of array
    cupy : module
    device : cupy.cuda.Device
    stream : cupy.cuda.Stream
        Stream of the copies; must be non-blocking.
    """

    def __init__(
        self, backend: Backend, arrays: Sequence[Array], cupy: Any, device: Any, stream: Any
    ) -> None:
        super().__init__(backend, arrays)
        self._cupy, self._device, self._stream = cupy, device, stream
        self._transfers = [_Transfer() for _ in arrays]

    def fill(self, values: Sequence[Any]) -> None:
        """Copy values; waits for no computation."""
        with self._device:
            for array, value, transfer in zip(self._arrays, values, self._transfers, strict=True):
                if isinstance(value, np.ndarray) and value.nbytes and value.shape == array.shape:
                    self._bring(array, value, transfer)
                else:
                    array[...] = self._backend.asarray(value)

    def _bring(self, array: Array, value: Any, transfer: _Transfer) -> None:
        if not transfer.slots:
            transfer.slots = [self._new_slot(array) for _ in range(_SLOTS)]
        slot = transfer.slots[transfer.turn]
        transfer.turn = (transfer.turn + 1) % _SLOTS
        slot.arrived.synchronize()  # the copy of two calls before
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
        device = self._cupy.empty(array.shape, dtype=array.dtype)
        # The caller's stream may still use the previous content of this memory.
        taken.record(cuda.get_current_stream())
        return _Slot(pinned, host, device, arrived, taken)
