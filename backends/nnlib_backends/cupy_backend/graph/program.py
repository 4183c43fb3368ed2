"""Capturing a trace as a graph, and launching it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from nnlib_backends.base import Array, Program
from nnlib_backends.common.trace import Call, Trace, View, replaced
from nnlib_backends.cupy_backend.graph.device import GraphDevice, Pool, ScalarInputs
from nnlib_backends.dtypes import tf32_allowed
from nnlib_backends.errors import CaptureError

__all__ = ["GraphProgram"]


class GraphProgram(Program):
    """Traced once; captured at the first replay; launched by every one; released in the end.

    Pool, scalar inputs and results live exactly as long as the graph, which has only their
    addresses.
    """

    def __init__(self, device: GraphDevice, pool: Pool, trace: Trace) -> None:
        self.trace = trace
        self._device = device
        self._pool: Pool | None = pool
        self._graph: Any = None
        self._feeder: ScalarInputs | None = None
        self._owners: dict[int, Any] = {}
        self._results: list[Array] = []

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Memory of its own, in bytes."""
        own = 0 if self._pool is None else self._pool.nbytes
        return own + (0 if self._feeder is None else self._feeder.nbytes)

    def replay(self) -> None:
        """Bring the new numbers, and launch the graph; nothing is waited for."""
        if self._graph is None:
            self._capture()
        numbers = self._numbers()
        self._device.launch(self._graph, lambda: self._feed(numbers))

    def _numbers(self) -> list[Sequence[float]]:
        return [given.function(*given.args) for given in self.trace.scalar_inputs]

    def _feed(self, numbers: list[Sequence[float]]) -> None:
        if self._feeder is not None:
            self._feeder.send(numbers)

    def results(self) -> list[Array]:
        """Return the arrays in which replays leave the results."""
        if self._graph is None:
            self._capture()
        return self._results

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay call by call, each as a graph of its own; return title, line, median seconds."""
        if self._graph is None:
            self._capture()
        pool = self._pool
        assert pool is not None
        numbers_of = [given.view.buffer for given in self.trace.scalar_inputs]
        owners = {buffer: self._owners[buffer] for buffer in numbers_of}  # all that is made stays
        pieces = [
            self._device.capture(pool, partial(self._call, call, owners))
            for call in self.trace.calls
        ]
        samples = []
        for _ in range(repeats):
            numbers = self._numbers()
            times = []
            for i, piece in enumerate(pieces):
                before = _nothing if i else partial(self._feed, numbers)
                times.append(self._device.seconds(piece, before))
            samples.append(times)
        return [
            (call.title, call.line, statistics.median(times))
            for call, times in zip(self.trace.calls, zip(*samples, strict=True), strict=True)
        ]

    def difference(self, other: Program) -> str | None:
        """Say where another recording of the same function did something else."""
        assert isinstance(other, GraphProgram)
        return self.trace.difference(other.trace)

    def release(self) -> None:
        """Destroy the graph when its last replay is over, then give back its memory."""
        if self._graph is not None:
            self._device.synchronize()
        self._graph = None  # first: it has the addresses of all the rest
        self._owners, self._results, self._feeder, self._pool = {}, [], None, None
        self.trace = Trace(self._device)

    # Capturing -------------------------------------------------------------------------------

    def _capture(self) -> None:
        if self._pool is None:
            raise CaptureError("a recording that was given back cannot be replayed")
        feeder = None
        owners: dict[int, Any] = {}
        views = [given.view for given in self.trace.scalar_inputs]
        if views:
            feeder = self._device.new_feeder(
                [view.shape[0] for view in views], [view.dtype for view in views]
            )
            for view, array in zip(views, feeder.arrays, strict=True):
                owners[view.buffer] = self._device.owner(array)
        graph = self._device.capture(self._pool, lambda: self._make_calls(owners))
        self._results = [self._located(view, owners) for view in self.trace.results]
        self._graph, self._feeder, self._owners = graph, feeder, owners

    def _make_calls(self, owners: dict[int, Any]) -> None:
        """Make every call; free a buffer as soon as none of the calls that follow needs it."""
        ends: dict[int, list[int]] = {}
        for buffer in self.trace.buffers:
            if not buffer.kept:
                ends.setdefault(buffer.last, []).append(buffer.number)
        for i, call in enumerate(self.trace.calls):
            try:
                self._call(call, owners)
                self._device.check()
            except (CaptureError, MemoryError):
                raise
            except Exception as error:
                raise CaptureError(_refusal(call, error)) from error
            for number in ends.get(i, ()):
                owners.pop(number, None)

    def _call(self, call: Call, owners: dict[int, Any]) -> None:
        args, options = self._located(call.args, owners), self._located(call.options, owners)
        allowed = tf32_allowed.set(call.tf32)
        try:
            result = call.function(*args, **options)
        finally:
            tf32_allowed.reset(allowed)
        if call.results is None:
            return
        arrays = self.trace.arrays(result)
        if len(arrays) != len(call.results):
            raise CaptureError(f"{_SAME}. Received: {call.title} in {call.line}: other results")
        for view, array in zip(call.results, arrays, strict=True):
            if isinstance(view, View):
                owner = owners.setdefault(view.buffer, self._device.owner(array))
                if not self._lies_at(array, owner, view):
                    raise CaptureError(
                        f"{_SAME}. Received: {call.title} in {call.line}: an array that lies "
                        f"elsewhere in memory ({array.shape}, strides {array.strides}), or in "
                        f"another one, than when it was recorded ({view.shape}, {view.strides})"
                    )

    def _lies_at(self, array: Array, owner: Any, view: View) -> bool:
        """Tell whether the calls that follow will find an array where they look for it."""
        return (
            self._device.belongs(array, owner)
            and self._device.address(array) - self._device.address(owner) == view.offset
            and array.shape == view.shape
            and array.strides == view.strides
            and array.dtype == view.dtype
        )

    def _located(self, value: Any, owners: dict[int, Any]) -> Any:
        """Replace views by arrays, at any depth."""
        return replaced(value, View, lambda view: self._device.at(owners[view.buffer], view))


def _nothing() -> None:
    """Bring nothing."""


_SAME = "an operation must do the same while it is captured as when it was recorded"


def _refusal(call: Call, error: Exception) -> str:
    return (
        "a compiled step on the GPU becomes one CUDA graph, in which nothing can be read by the "
        "host, copied from it, or computed by a library that refuses capture. Received: "
        f"{call.title} in {call.line}: {error}. Do it outside of the compiled function, or do "
        "not compile (Trainer: compile=False)"
    )
