"""The tracer of the CuPy backend.

The function runs in the stream and with the memory pool of the graph; every operation, derivative
and update is a call of the trace.  `GraphProgram` then makes the calls again, without the user's
function, while the driver captures their launches.
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
    """The tracer of a device with graphs.

    Parameters
    ----------
    device : GraphDevice
    """

    def __init__(self, device: GraphDevice) -> None:
        self.trace = Trace(device)
        self._device = device
        self._pool = device.new_pool()
        self._working: AbstractContextManager[Any] | None = None
        self._inside = False  # whether inside a call of the trace, which contains further calls

    def __enter__(self) -> GraphTracer:
        self._working = self._device.working()
        self._working.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._working is not None
        self._working.__exit__(*error)

    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns new arrays or views, and add the call."""
        if self._inside:
            return function(*args, **options)
        result = self._run(function, args, options)
        if result is NotImplemented:  # a kernel pair that does not support these arrays
            return result
        trace = self.trace
        arrays = trace.arrays(result)
        for owner in trace.new_owners(arrays, trace.arrays((args, options))):
            trace.add_buffer(owner)
        trace.add_call(function, args, options, arrays, tf32=tf32_allowed.get())
        return result

    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that reads arrays or changes them in place, and add the call."""
        if self._inside:
            function(*args, **options)
        else:
            self._run(function, args, options)
            self.trace.add_call(function, args, options, tf32=tf32_allowed.get())

    def scalar_inputs(self, function: Callable[..., Any], *args: Any, dtype: Any) -> Array:
        """Return an array into which every replay copies the numbers that a function returns."""
        if self._inside:
            raise RuntimeError("scalar inputs must be made outside of an operation")
        array = self._device.copied(list(function(*args)), dtype)
        self.trace.add_scalar_input(array, function, args)
        return array

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while tracing, or is a view of one that was."""
        return self.trace.made(array)

    def finish(self, results: Sequence[Array]) -> GraphProgram:
        """Return the program of the trace."""
        return GraphProgram(self._device, self._pool, self.trace.finish(results))

    def _run(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        self._inside = True
        try:
            with self._pool.active():  # only here: an optimizer's state must outlive the pool
                return function(*args, **options)
        finally:
            self._inside = False
