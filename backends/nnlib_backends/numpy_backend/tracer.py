"""The tracer of the NumPy backend: a call is a kernel's launch or a call of a Python function."""

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
    """The tracer of the NumPy backend."""

    def __init__(self) -> None:
        self.trace = Trace(HostMemory())

    def __enter__(self) -> NumpyTracer:
        self._token = launch.current_tracer.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        launch.current_tracer.reset(self._token)

    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that changes arrays in place; add the call unless it added its own."""
        before = len(self.trace.calls)
        function(*args, **options)
        if len(self.trace.calls) == before:
            self.trace.add_call(function, args, options)

    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns arrays; add the call unless it added its own.

        Results that are neither from `launch.empty` nor views of arguments were computed by NumPy,
        and so was an argument that is returned after no launch: then a replay calls the whole
        function.
        """
        trace = self.trace
        calls, inputs = len(trace.calls), len(trace.scalar_inputs)
        result = _as_arrays(function(*args, **options))
        results, arguments = trace.arrays(result), trace.arrays((args, options))
        owners = trace.new_owners(results, arguments)
        returns_argument = len(trace.calls) == calls and any(
            array is other for array in results for other in arguments
        )
        if owners or returns_argument:
            if len(trace.scalar_inputs) != inputs:
                raise RuntimeError("scalar inputs must be made outside of an operation")
            del trace.calls[calls:]
            for owner in owners:
                trace.add_buffer(owner)
            trace.add_call(function, args, options, results)
        return result

    def scalar_inputs(self, function: Callable[..., Any], *args: Any, dtype: Any) -> Array:
        """Return an array into which every replay writes the numbers that a function returns."""
        array = np.array(function(*args), dtype)
        self.trace.add_scalar_input(array, function, args)
        return array

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while tracing, or is a view of one that was."""
        return self.trace.made(array)

    def finish(self, results: Sequence[Array]) -> NumpyProgram:
        """Return the program, in which the results keep their memory."""
        return NumpyProgram(self.trace.finish(results))


def _as_arrays(value: Any) -> Any:
    """Replace NumPy's scalars by 0-d arrays, at any depth."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, tuple | list):
        return type(value)([_as_arrays(item) for item in value])
    return value
