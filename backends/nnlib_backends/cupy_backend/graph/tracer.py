"""Writing down what a function computes on a device, so that it can be captured as a graph.

The function runs as it is, in the stream and with the memory that the graph will use; every
operation, derivative and update is an entry: a Python function and its arguments.  That two runs
have the same entries is the proof that nothing in a graph, which holds every Python number as it
was, will have to change.  Then the entries are called once more while the driver writes down their
launches (`program.GraphProgram`).  The user's function itself takes no part in that: what it
prints, counts or reads cannot get in the way.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from nnlib_backends.base import Array, Tracer
from nnlib_backends.common.trace import View, arrays_in, replaced
from nnlib_backends.cupy_backend.graph.device import GraphDevice
from nnlib_backends.cupy_backend.graph.program import Buffer, Call, GraphProgram, ScalarInput
from nnlib_backends.dtypes import tf32_allowed
from nnlib_backends.user_line import user_line

__all__ = ["GraphTracer"]


class GraphTracer(Tracer):
    """Records on a device that has graphs.

    Parameters
    ----------
    device : GraphDevice
    """

    def __init__(self, device: GraphDevice) -> None:
        self._device = device
        self._pool = device.new_pool()
        self._entries: list[Call] = []
        self._feeds: list[ScalarInput] = []
        self._storages: list[Buffer] = []
        self._by_owner: dict[int, Buffer] = {}
        self._working: AbstractContextManager[Any] | None = None
        self._inside = False  # an entry's function: what it calls is part of the entry

    def __enter__(self) -> GraphTracer:
        self._working = self._device.working()
        self._working.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._working is not None
        self._working.__exit__(*error)

    # What is recorded --------------------------------------------------------------------------

    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns new arrays, or views, and write it down."""
        if self._inside:
            return function(*args, **options)
        result = self._run(function, args, options)
        if result is NotImplemented:  # a kernel that is not made for these arrays
            return result
        given = {id(self._device.owner(a)) for a in self._arrays((args, options))}
        arrays = self._arrays(result)
        for array in arrays:
            owner = self._device.owner(array)
            if id(owner) not in self._by_owner and id(owner) not in given:
                self._own(owner)
        self._write(function, args, options, results=arrays)
        return result

    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that changes arrays in place or looks at them, and write it down."""
        if self._inside:
            function(*args, **options)
        else:
            self._run(function, args, options)
            self._write(function, args, options)

    def scalar_inputs(self, into: Any, function: Callable[..., Any], *args: Any, dtype: Any) -> Any:
        """Return an array of the graph's own, to which every replay brings new numbers."""
        if self._inside:
            raise RuntimeError("numbers for a step must be asked for outside of an operation")
        numbers = list(function(*args))
        array = self._device.copied(numbers, dtype)
        buffer = self._own(self._device.owner(array))
        buffer.scalar_inputs = len(self._feeds)
        self._feeds.append(
            ScalarInput(function, args, len(numbers), array.dtype, array, user_line())
        )
        return array

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while recording, or looks into one that was."""
        return id(self._device.owner(array)) in self._by_owner

    def finish(self, results: Sequence[Array]) -> GraphProgram:
        """Hand over what was written down."""
        places = [self._resolve(array) for array in results]
        for place in places:
            if isinstance(place, View):
                self._storages[place.buffer].kept = True
        return GraphProgram(
            self._device, self._pool, self._entries, self._feeds, self._storages, places
        )

    # How ---------------------------------------------------------------------------------------

    def _run(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        self._inside = True
        try:
            with self._pool.active():  # not around the whole step: an optimizer's state stays
                return function(*args, **options)
        finally:
            self._inside = False

    def _write(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        results: list[Array] | None = None,
    ) -> None:
        self._entries.append(
            Call(
                function,
                self._resolve(args),
                self._resolve(options),
                None if results is None else self._resolve(results),
                user_line(),
                tf32_allowed.get(),
            )
        )

    def _arrays(self, value: Any) -> list[Array]:
        return list(arrays_in(value, self._device.array_type))

    def _own(self, owner: Any) -> Buffer:
        """Give the memory of an array that was just made a number."""
        key, by_owner = id(owner), self._by_owner
        # an array that nobody holds any more makes room for another at the same address
        reference = weakref.ref(owner, lambda _: by_owner.pop(key, None))
        buffer = Buffer(len(self._storages), reference)
        self._storages.append(buffer)
        by_owner[key] = buffer
        return buffer

    def _resolve(self, value: Any) -> Any:
        """Replace arrays that were made while recording by their places, at any depth."""
        return replaced(value, self._device.array_type, self._place)

    def _place(self, array: Array) -> Array | View:
        owner = self._device.owner(array)
        buffer = self._by_owner.get(id(owner))
        if buffer is None:
            return array
        buffer.last = len(self._entries)
        return View(
            buffer.number,
            self._device.offset(array, owner),
            array.shape,
            array.strides,
            array.dtype,  # its name does not tell bfloat16 from two bytes
        )
