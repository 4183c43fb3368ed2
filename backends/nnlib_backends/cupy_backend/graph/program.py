"""Capturing what was recorded as a graph, and launching it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nnlib_backends.base import Array, Backend, Program
from nnlib_backends.common.trace import View, arrays_in, difference, replaced
from nnlib_backends.cupy_backend.graph.device import GraphDevice, Pool, ScalarInputs
from nnlib_backends.dtypes import tf32_allowed
from nnlib_backends.errors import CaptureError

__all__ = ["Buffer", "Call", "GraphProgram", "ScalarInput"]


@dataclass(eq=False)
class Buffer:
    """Memory of an array that was made while recording.

    Attributes
    ----------
    number : int
        In order of making.
    owner : weak reference
    last : int
        The last entry that touches it; later the capture may use the memory for another array.
    kept : bool
        Whether it must hold its values when a replay is over.
    fed : int
        Which of the feeds fills it; −1 if none does.
    """

    number: int
    owner: Any
    last: int = -1
    kept: bool = False
    scalar_inputs: int = -1


@dataclass(frozen=True)
class Call:
    """A call of a Python function, with places for arrays that were made while recording."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    results: list[Any] | None
    line: str
    tf32: bool | None = None  #: whether products might be rounded then, see `precision`

    @property
    def title(self) -> str:
        """What is done: the name of the operation, or of the function."""
        named = (  # an update is one itself; the name of a backend says nothing
            a.name
            for a in (self.function, *self.args)
            if isinstance(getattr(a, "name", None), str) and not isinstance(a, Backend)
        )
        name: str = getattr(self.function, "__qualname__", repr(self.function))
        return next(named, name)


@dataclass(frozen=True)
class ScalarInput:
    """Numbers of the host's that a replay needs anew.

    ``array`` holds those of the recorded run, for whatever still uses them.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    count: int
    dtype: Any
    array: Array = field(repr=False)
    line: str = ""


class GraphProgram(Program):
    """Recorded once; captured at the first replay; launched by every one; released in the end.

    Pool, feeds and results live exactly as long as the graph, which has only their addresses.
    """

    def __init__(
        self,
        device: GraphDevice,
        pool: Pool,
        calls: Sequence[Call],
        all_scalar_inputs: Sequence[ScalarInput],
        buffers: Sequence[Buffer],
        results: Sequence[View | Array],
    ) -> None:
        self.calls, self.all_scalar_inputs = list(calls), list(all_scalar_inputs)
        self._device, self._storages = device, list(buffers)
        self._places = list(results)
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
        numbers = [
            scalar_inputs.function(*scalar_inputs.args) for scalar_inputs in self.all_scalar_inputs
        ]
        self._device.launch(self._graph, lambda: self._feed(numbers))

    def _feed(self, numbers: list[Sequence[float]]) -> None:
        if self._feeder is not None:
            self._feeder.send(numbers)

    def results(self) -> list[Array]:
        """Return the arrays in which replays leave the results."""
        if self._graph is None:
            self._capture()
        return self._results

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay entry by entry, each as a graph of its own; return title, line, median seconds."""
        if self._graph is None:
            self._capture()
        pool = self._pool
        assert pool is not None
        scalar_inputs = [buffer.number for buffer in self._storages if buffer.scalar_inputs >= 0]
        owners = {
            number: self._owners[number] for number in scalar_inputs
        }  # all that is made stays
        pieces = [
            self._device.capture(pool, partial(self._call, call_, owners)) for call_ in self.calls
        ]
        samples = []
        for _ in range(repeats):
            numbers = [
                scalar_inputs.function(*scalar_inputs.args)
                for scalar_inputs in self.all_scalar_inputs
            ]
            times = []
            for i, piece in enumerate(pieces):
                before = _nothing if i else partial(self._feed, numbers)
                times.append(self._device.seconds(piece, before))
            samples.append(times)
        return [
            (call_.title, call_.line, statistics.median(times))
            for call_, times in zip(self.calls, zip(*samples, strict=True), strict=True)
        ]

    def release(self) -> None:
        """Destroy the graph when its last replay is over, then give back its memory."""
        if self._graph is not None:
            self._device.synchronize()
        self._graph = None  # first: it has the addresses of all the rest
        self._owners, self._results, self._places = {}, [], []
        self.calls, self.all_scalar_inputs, self._feeder, self._pool = [], [], None, None

    # Capturing -------------------------------------------------------------------------------

    def _capture(self) -> None:
        if self._pool is None:
            raise CaptureError("a recording that was given back cannot be replayed")
        feeder = None
        owners: dict[int, Any] = {}
        if self.all_scalar_inputs:
            feeder = self._device.new_feeder(
                [scalar_inputs.count for scalar_inputs in self.all_scalar_inputs],
                [scalar_inputs.dtype for scalar_inputs in self.all_scalar_inputs],
            )
            for buffer in self._storages:
                if buffer.scalar_inputs >= 0:
                    owners[buffer.number] = self._device.owner(feeder.arrays[buffer.scalar_inputs])
        graph = self._device.capture(self._pool, lambda: self._call_entries(owners))
        self._results = [self._located(place, owners) for place in self._places]
        self._graph, self._feeder, self._owners = graph, feeder, owners

    def _call_entries(self, owners: dict[int, Any]) -> None:
        """Call every entry; forget memory as soon as none of the entries that follow needs it."""
        ends: dict[int, list[int]] = {}
        for buffer in self._storages:
            if not buffer.kept and buffer.scalar_inputs < 0:
                ends.setdefault(buffer.last, []).append(buffer.number)
        for i, call_ in enumerate(self.calls):
            try:
                self._call(call_, owners)
                self._device.check()
            except (CaptureError, MemoryError):
                raise
            except Exception as error:
                raise CaptureError(_refusal(call_, error)) from error
            for number in ends.get(i, ()):
                owners.pop(number, None)

    def _call(self, call_: Call, owners: dict[int, Any]) -> None:
        args, options = self._located(call_.args, owners), self._located(call_.options, owners)
        allowed = tf32_allowed.set(call_.tf32)
        try:
            result = call_.function(*args, **options)
        finally:
            tf32_allowed.reset(allowed)
        if call_.results is None:
            return
        arrays = list(arrays_in(result, self._device.array_type))
        if len(arrays) != len(call_.results):
            raise CaptureError(f"{_SAME}. Received: {call_.title} in {call_.line}: other results")
        for place, array in zip(call_.results, arrays, strict=True):
            if isinstance(place, View):
                owner = owners.setdefault(place.buffer, self._device.owner(array))
                if not self._lies_at(array, owner, place):
                    raise CaptureError(
                        f"{_SAME}. Received: {call_.title} in {call_.line}: an array that lies "
                        f"elsewhere in memory ({array.shape}, strides {array.strides}), or in "
                        f"another one, than when it was recorded ({place.shape}, {place.strides})"
                    )

    def _lies_at(self, array: Array, owner: Any, place: View) -> bool:
        """Tell whether the entries that follow will find an array where they look for it."""
        return (
            self._device.belongs(array, owner)
            and self._device.offset(array, owner) == place.offset
            and array.shape == place.shape
            and array.strides == place.strides
            and array.dtype == place.dtype
        )

    def _located(self, value: Any, owners: dict[int, Any]) -> Any:
        """Replace places by arrays, at any depth."""
        return replaced(value, View, lambda place: self._device.at(owners[place.buffer], place))

    # Comparing -------------------------------------------------------------------------------

    def difference(self, other: Program) -> str | None:
        """Say where another recording of the same function did something else."""
        assert isinstance(other, GraphProgram)
        for mine, theirs in zip(self.calls, other.calls, strict=False):
            if mine.function != theirs.function:
                return f"{theirs.line}: another operation than the first time"
            what = difference(
                (mine.args, mine.options, mine.results, mine.tf32),
                (theirs.args, theirs.options, theirs.results, theirs.tf32),
                self._device.array_type,
                self._device.same,
            )
            if what:
                return f"{theirs.line}: {what}"
        if len(self.calls) != len(other.calls):
            longer = max(self.calls, other.calls, key=len)
            line = longer[min(len(self.calls), len(other.calls))].line
            return f"{line}: an operation that was made only once"
        return self._other_feeds(other)

    def _other_feeds(self, other: GraphProgram) -> str | None:
        mine, theirs = (
            [
                (
                    scalar_inputs.function,
                    scalar_inputs.args,
                    scalar_inputs.count,
                    scalar_inputs.dtype,
                )
                for scalar_inputs in program.all_scalar_inputs
            ]
            for program in (self, other)
        )
        if mine != theirs:
            return "other numbers are asked for in every step (of an optimizer, or at random)"
        return None


def _nothing() -> None:
    """Bring nothing."""


_SAME = "an operation must do the same while it is captured as when it was recorded"


def _refusal(call_: Call, error: Exception) -> str:
    return (
        "a compiled step on the GPU becomes one CUDA graph, in which nothing can be read by the "
        "host, copied from it, or computed by a library that refuses capture. Received: "
        f"{call_.title} in {call_.line}: {error}. Do it outside of the compiled function, or do "
        "not compile (Trainer: compile=False)"
    )
