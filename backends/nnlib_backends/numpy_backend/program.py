"""Doing a recording again: one block of memory, and a flat list of calls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nnlib_backends.base import Program, write_scalars
from nnlib_backends.common.trace import View, arrays_in, difference, replaced
from nnlib_backends.dtypes import is_floating
from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.calls import Buffer, Call, address
from nnlib_backends.numpy_backend.launch import Array
from nnlib_backends.numpy_backend.memory_plan import place_buffers

__all__ = ["NumpyProgram"]

Step = Callable[[], None]


class NumpyProgram(Program):
    """A recording of the NumPy backend.

    Attributes
    ----------
    entries : list of Entry
    nbytes : int
        Of the memory of its own.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        buffers: Sequence[Buffer],
        results: Sequence[View | Array],
    ) -> None:
        self.calls = list(calls)
        self._results = list(results)
        self._offsets, self.nbytes = place_buffers(buffers)
        self._memory: Array | None = None
        self._held: list[Any] = []
        self._steps: list[Step] = []

    def replay(self) -> None:
        """Do everything again."""
        if self._memory is None:
            self._build()
        for step in self._steps:
            step()

    def results(self) -> list[Array]:
        """Return the arrays in which replays leave the results."""
        if self._memory is None:
            self._build()
        return [self._located(result) for result in self._results]

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay piece by piece; return what each piece is, its line, and its median seconds."""
        if self._memory is None:
            self._build()
        steps = [self._step(call_) for call_ in self.calls]
        samples = np.empty((repeats, len(steps)))
        for row in samples:
            for i, step in enumerate(steps):
                begin = time.perf_counter()
                step()
                row[i] = time.perf_counter() - begin
        medians = np.median(samples, axis=0).tolist()
        return [
            (call_.title, call_.line, seconds)
            for call_, seconds in zip(self.calls, medians, strict=True)
        ]

    # Building --------------------------------------------------------------------------------

    def _build(self) -> None:
        """Take the memory, and turn entries into calls: launches in a row become one program."""
        block = np.empty(self.nbytes + 64, np.uint8)
        start = -address(block) % 64  # so that vectors never straddle a cache line
        self._memory = block[start : start + self.nbytes]
        ordered = _fed_early(self.calls)
        for launched, group in itertools.groupby(ordered, lambda call_: call_.items > 0):
            if launched:
                self._steps.append(self._program(list(group)))
            else:
                self._steps += [self._step(call_) for call_ in group]

    def _program(self, launches: list[Call]) -> Step:
        from nnlib_backends.numpy_backend.codegen import dispatch

        args = [self._located(call_.args) for call_ in launches]
        tables = [launch.make_table(arg) for arg in args]
        self._held.append((args, tables))  # the program has only their addresses
        rows = [
            (call_.function, table, call_.items, call_.chunks)
            for call_, table in zip(launches, tables, strict=True)
        ]
        return partial(dispatch.run, launch.make_program(rows))

    def _step(self, call_: Call) -> Step:
        if call_.items:
            return self._program([call_])
        args, options = self._located(call_.args), self._located(call_.options)
        function = partial(call_.function, *args, **options)
        if call_.results is None:
            return function
        return partial(_compute_into, self._located(call_.results), function)

    def _located(self, value: Any) -> Any:
        """Replace places by arrays in the recording's memory, at any depth."""
        return replaced(value, View, self._array)

    def _array(self, place: View) -> Array:
        assert self._memory is not None
        offset = self._offsets[place.buffer] + place.offset
        return np.ndarray(place.shape, place.dtype, self._memory, offset, place.strides)

    # Comparing -------------------------------------------------------------------------------

    def difference(self, other: Program) -> str | None:
        """Say where another recording of the same function did something else."""
        assert isinstance(other, NumpyProgram)
        for mine, theirs in zip(self.calls, other.calls, strict=False):
            if mine.function != theirs.function or mine.items != theirs.items:
                return f"{theirs.line}: another operation than the first time"
            what = difference(
                (mine.args, mine.options, mine.results),
                (theirs.args, theirs.options, theirs.results),
                np.ndarray,
                _same_array,
            )
            if what:
                return f"{theirs.line}: {what}"
        if len(self.calls) != len(other.calls):
            longer = max(self.calls, other.calls, key=len)
            line = longer[min(len(self.calls), len(other.calls))].line
            return f"{line}: an operation that was made only once"
        return None


def _fed_early(calls: Sequence[Call]) -> list[Call]:
    """Move `write_scalars` before the launches that do not read its array: they become one program.

    Launches call no Python, so nothing that the numbers are computed of changes meanwhile.
    """
    ordered: list[Call] = []
    for call_ in calls:
        place = len(ordered)
        if call_.function is write_scalars and isinstance(call_.args[0], np.ndarray):
            while place and _is_apart(ordered[place - 1], call_.args[0]):
                place -= 1
        ordered.insert(place, call_)
    return ordered


def _is_apart(call_: Call, array: Array) -> bool:
    """Tell whether an entry is a launch without this array."""
    return call_.items > 0 and not any(
        np.may_share_memory(arg, array) for arg in arrays_in(call_.args, np.ndarray)
    )


def _compute_into(results: list[Array], function: Callable[[], Any]) -> None:
    values = function()
    for place, value in zip(results, _in_order(values), strict=True):
        place[...] = value


def _in_order(value: Any) -> list[Any]:
    """Arrays and scalars of NumPy in tuples and lists, in order."""
    if isinstance(value, tuple | list):
        return [array for item in value for array in _in_order(item)]
    return [value] if isinstance(value, np.ndarray | np.generic) else []


def _same_array(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if address(a) == address(b) and a.strides == b.strides:
        return True
    return np.array_equal(a, b, equal_nan=is_floating(a.dtype))
