"""Tracing what a function computes on a device, so that it can be captured as a graph.

The function runs as it is, in the stream and with the memory that the graph will use; every
operation, derivative and update is a call of the trace.  That two runs have the same trace is the
proof that nothing in a graph, which holds every Python number as it was, will have to change.  Then
the calls are made once more while the driver captures their launches
(`program.GraphProgram`).  The user's function itself takes no part in that: what it prints,
counts or reads cannot get in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from nnlib_backends.base import Array, Tracer
from nnlib_backends.common.trace import Trace
from nnlib_backends.cupy_backend.graph.device import GraphDevice
from nnlib_backends.cupy_backend.graph.program import GraphProgram
from nnlib_backends.dtypes import tf32_allowed

__all__ = ["GraphTracer"]


class GraphTracer(Tracer):
    """Traces on a device that has graphs.

    Parameters
    ----------
    device : GraphDevice
    """

    def __init__(self, device: GraphDevice) -> None:
        self.trace = Trace(device)
        self._device = device
        self._pool = device.new_pool()
        self._working: AbstractContextManager[Any] | None = None
        self._inside = False  # a call of the trace: what it calls itself is part of it

    def __enter__(self) -> GraphTracer:
        self._working = self._device.working()
        self._working.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._working is not None
        self._working.__exit__(*error)

    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns new arrays, or views, and add the call."""
        if self._inside:
            return function(*args, **options)
        result = self._run(function, args, options)
        if result is NotImplemented:  # a kernel that is not made for these arrays
            return result
        trace = self.trace
        arrays = trace.arrays(result)
        for owner in trace.new_owners(arrays, trace.arrays((args, options))):
            trace.add_buffer(owner)
        trace.add_call(function, args, options, arrays, tf32=tf32_allowed.get())
        return result

    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that changes arrays in place or looks at them, and add the call."""
        if self._inside:
            function(*args, **options)
        else:
            self._run(function, args, options)
            self.trace.add_call(function, args, options, tf32=tf32_allowed.get())

    def scalar_inputs(self, function: Callable[..., Any], *args: Any, dtype: Any) -> Array:
        """Return an array of the graph's own, to which every replay brings new numbers."""
        if self._inside:
            raise RuntimeError("numbers for a step must be asked for outside of an operation")
        array = self._device.copied(list(function(*args)), dtype)
        self.trace.add_scalar_input(array, function, args)
        return array

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while recording, or looks into one that was."""
        return self.trace.made(array)

    def finish(self, results: Sequence[Array]) -> GraphProgram:
        """Hand over the trace."""
        return GraphProgram(self._device, self._pool, self.trace.finish(results))

    def _run(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        self._inside = True
        try:
            with self._pool.active():  # not around the whole step: an optimizer's state stays
                return function(*args, **options)
        finally:
            self._inside = False
