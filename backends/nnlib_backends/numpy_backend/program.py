"""Programs of the NumPy backend: a flat list of calls over one block of memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnlib_backends.base import Program, write_scalars
from nnlib_backends.common.trace import Call, Memory, Trace, View, replaced
from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.launch import Array
from nnlib_backends.numpy_backend.memory_plan import place_buffers

__all__ = ["HostMemory", "NumpyProgram"]

Step = Callable[[], None]


class HostMemory(Memory):
    """Access to the memory of NumPy's arrays."""

    array_type = np.ndarray

    def address(self, array: Array) -> int:
        """Return the address of the first element."""
        return int(array.__array_interface__["data"][0])

    def to_host(self, array: Array) -> Array:
        """Return the array."""
        return array


class NumpyProgram(Program):
    """A program of the NumPy backend.

    Attributes
    ----------
    trace : Trace
    nbytes : int
        See `Program`.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._offsets, self.nbytes = place_buffers(trace.buffers)
        self._memory: Array | None = None
        self._held: list[Any] = []
        self._inputs: list[Step] = []
        self._steps: list[Step] = []

    def replay(self) -> None:
        """Run the program with the present values of the arrays from outside."""
        if self._memory is None:
            self._build()
        for step in self._inputs:
            step()
        for step in self._steps:
            step()

    def results(self) -> list[Array]:
        """Return the arrays that hold the results of a replay."""
        if self._memory is None:
            self._build()
        return [self._located(result) for result in self.trace.results]

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay call by call; return the title, the line and the median seconds of each."""
        if self._memory is None:
            self._build()
        calls = self.trace.calls
        steps = [self._step(call) for call in calls]
        samples = np.empty((repeats, len(steps)))
        for row in samples:
            for step in self._inputs:
                step()
            for i, step in enumerate(steps):
                begin = time.perf_counter()
                step()
                row[i] = time.perf_counter() - begin
        medians = np.median(samples, axis=0).tolist()
        return [
            (call.title if call.items else f"{call.title} (Python)", call.line, seconds)
            for call, seconds in zip(calls, medians, strict=True)
        ]

    def difference(self, other: Program) -> str | None:
        """Describe the first difference from another trace of the same function, if any."""
        assert isinstance(other, NumpyProgram)
        return self.trace.difference(other.trace)

    # Building --------------------------------------------------------------------------------

    def _build(self) -> None:
        """Allocate the memory and make the steps; consecutive launches become one step."""
        block = np.empty(self.nbytes + 64, np.uint8)
        start = -block.ctypes.data % 64  # aligned to a cache line
        self._memory = block[start : start + self.nbytes]
        self._inputs = [
            partial(write_scalars, self._array(scalars.view), scalars.function, scalars.args)
            for scalars in self.trace.scalar_inputs
        ]
        for launched, group in itertools.groupby(self.trace.calls, lambda call: call.items > 0):
            if launched:
                self._steps.append(self._launches(list(group)))
            else:
                self._steps += [self._step(call) for call in group]

    def _launches(self, launches: list[Call]) -> Step:
        from nnlib_backends.numpy_backend.codegen import dispatch

        args = [self._located(call.args) for call in launches]
        tables = [
            launch.make_table(arg, call.function) for arg, call in zip(args, launches, strict=True)
        ]
        self._held.append((args, tables))  # the launches have only their addresses
        rows = [
            (call.function, table, call.items, call.chunks)
            for call, table in zip(launches, tables, strict=True)
        ]
        return partial(dispatch.run, launch.make_program(rows))

    def _step(self, call: Call) -> Step:
        if call.items:
            return self._launches([call])
        args, options = self._located(call.args), self._located(call.options)
        function = partial(call.function, *args, **options)
        if call.results is None:
            return function
        return partial(_compute_into, self._located(call.results), function)

    def _located(self, value: Any) -> Any:
        """Replace views by arrays in the program's memory, at any depth."""
        return replaced(value, View, self._array)

    def _array(self, view: View) -> Array:
        assert self._memory is not None
        offset = self._offsets[view.buffer] + view.offset
        return np.ndarray(view.shape, view.dtype, self._memory, offset, view.strides)


def _compute_into(results: list[Array], function: Callable[[], Any]) -> None:
    values = function()
    for target, value in zip(results, _in_order(values), strict=True):
        target[...] = value


def _in_order(value: Any) -> list[Any]:
    """Return NumPy's arrays and scalars in tuples and lists, in order."""
    if isinstance(value, tuple | list):
        return [array for item in value for array in _in_order(item)]
    return [value] if isinstance(value, np.ndarray | np.generic) else []
