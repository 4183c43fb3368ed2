"""Tracing what NumPy computes: each call is a launch of a compiled kernel or a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnlib_backends.base import Tracer
from nnlib_backends.common.trace import Trace
from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.launch import Array
from nnlib_backends.numpy_backend.program import HostMemory, NumpyProgram

__all__ = ["NumpyTracer"]


class NumpyTracer(Tracer):
    """Traces on the NumPy backend."""

    def __init__(self) -> None:
        self.trace = Trace(HostMemory())

    def __enter__(self) -> NumpyTracer:
        self._token = launch.program.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        launch.program.reset(self._token)

    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that changes arrays in place; add the call unless it added others."""
        before = len(self.trace.calls)
        function(*args, **options)
        if len(self.trace.calls) == before:
            self.trace.add_call(function, args, options)

    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns arrays; add the call unless it added others.

        A function that launches kernels has taken the memory of its results by `launch.empty`; one
        that made a view has computed nothing.  Results of any other kind came from NumPy, and so
        did what was written into an array that was given and returned: the whole function is called
        in a replay.
        """
        trace = self.trace
        calls, inputs = len(trace.calls), len(trace.scalar_inputs)
        result = _as_arrays(function(*args, **options))
        results, arguments = trace.arrays(result), trace.arrays((args, options))
        owners = trace.new_owners(results, arguments)
        filled = len(trace.calls) == calls and any(
            array is other for array in results for other in arguments
        )
        if owners or filled:
            if len(trace.scalar_inputs) != inputs:
                raise RuntimeError("numbers for a step must be asked for outside of an operation")
            del trace.calls[calls:]
            for owner in owners:
                trace.add_buffer(owner)
            trace.add_call(function, args, options, results)
        return result

    def scalar_inputs(self, function: Callable[..., Any], *args: Any, dtype: Any) -> Array:
        """Return an array of the program's own, into which every replay writes new numbers."""
        array = np.array(function(*args), dtype)
        self.trace.add_scalar_input(array, function, args)
        return array

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while recording, or looks into one that was."""
        return self.trace.made(array)

    def finish(self, results: Sequence[Array]) -> NumpyProgram:
        """Plan the memory; the results keep theirs."""
        return NumpyProgram(self.trace.finish(results))


def _as_arrays(value: Any) -> Any:
    """Turn NumPy's scalars into arrays without axes, at any depth: only arrays have views."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, tuple | list):
        return type(value)([_as_arrays(item) for item in value])
    return value
