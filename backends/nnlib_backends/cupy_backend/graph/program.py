"""Programs of the CuPy backend: capturing a trace as a CUDA graph, and launching it."""

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
    """A trace that the first replay captures as a graph, and every replay launches.

    Pool, scalar inputs and results live as long as the graph, which has only their addresses.
    """

    def __init__(self, device: GraphDevice, pool: Pool, trace: Trace) -> None:
        self.trace = trace
        self._device = device
        self._pool: Pool | None = pool
        self._graph: Any = None
        self._scalars: ScalarInputs | None = None
        self._owners: dict[int, Any] = {}
        self._results: list[Array] = []

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Memory that the program allocates, in bytes."""
        own = 0 if self._pool is None else self._pool.nbytes
        return own + (0 if self._scalars is None else self._scalars.nbytes)

    def replay(self) -> None:
        """Copy the scalar inputs and launch the graph, without waiting."""
        if self._graph is None:
            self._capture()
        numbers = self._numbers()
        self._device.launch(self._graph, lambda: self._send(numbers))

    def _numbers(self) -> list[Sequence[float]]:
        return [scalars.function(*scalars.args) for scalars in self.trace.scalar_inputs]

    def _send(self, numbers: list[Sequence[float]]) -> None:
        if self._scalars is not None:
            self._scalars.send(numbers)

    def results(self) -> list[Array]:
        """Return the arrays that hold the results of a replay."""
        if self._graph is None:
            self._capture()
        return self._results

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay call by call, one graph each; return title, user's line and median seconds."""
        if self._graph is None:
            self._capture()
        pool = self._pool
        assert pool is not None
        inputs = [scalars.view.buffer for scalars in self.trace.scalar_inputs]
        owners = {buffer: self._owners[buffer] for buffer in inputs}
        pieces = [
            self._device.capture(pool, partial(self._call, call, owners))
            for call in self.trace.calls
        ]
        samples = []
        for _ in range(repeats):
            numbers = self._numbers()
            times = []
            for i, piece in enumerate(pieces):
                before = _nothing if i else partial(self._send, numbers)
                times.append(self._device.seconds(piece, before))
            samples.append(times)
        return [
            (call.title, call.line, statistics.median(times))
            for call, times in zip(self.trace.calls, zip(*samples, strict=True), strict=True)
        ]

    def difference(self, other: Program) -> str | None:
        """Describe the first difference from another trace of the same function, if any."""
        assert isinstance(other, GraphProgram)
        return self.trace.difference(other.trace)

    def release(self) -> None:
        """Wait for the last replay, destroy the graph and free its memory."""
        if self._graph is not None:
            self._device.synchronize()
        self._graph = None  # first, because it has the addresses of all the rest
        self._owners, self._results, self._scalars, self._pool = {}, [], None, None
        self.trace = Trace(self._device)

    # Capturing -------------------------------------------------------------------------------

    def _capture(self) -> None:
        if self._pool is None:
            raise CaptureError("a program that was released cannot be replayed")
        inputs = None
        owners: dict[int, Any] = {}
        views = [scalars.view for scalars in self.trace.scalar_inputs]
        if views:
            inputs = self._device.new_scalar_inputs(
                [view.shape[0] for view in views], [view.dtype for view in views]
            )
            for view, array in zip(views, inputs.arrays, strict=True):
                owners[view.buffer] = self._device.owner(array)
        graph = self._device.capture(self._pool, lambda: self._make_calls(owners))
        self._results = [self._located(view, owners) for view in self.trace.results]
        self._graph, self._scalars, self._owners = graph, inputs, owners

    def _make_calls(self, owners: dict[int, Any]) -> None:
        """Make every call; free each buffer after its last use."""
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
                        f"{_SAME}. Received: {call.title} in {call.line}: an array in other "
                        f"memory or of another layout ({array.shape}, strides {array.strides}) "
                        f"than when it was traced ({view.shape}, {view.strides})"
                    )

    def _lies_at(self, array: Array, owner: Any, view: View) -> bool:
        """Tell whether an array has the position and layout of a view."""
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
    """Do nothing."""


_SAME = "an operation must do the same while it is captured as when it was traced"


def _refusal(call: Call, error: Exception) -> str:
    return (
        "a compiled step on the GPU becomes one CUDA graph, in which nothing can be read by the "
        "host, copied from it, or computed by a library that refuses capture. Received: "
        f"{call.title} in {call.line}: {error}. Do it outside of the compiled function, or do "
        "not compile (Trainer: compile=False)"
    )
