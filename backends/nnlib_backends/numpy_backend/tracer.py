"""Recording what NumPy computes, and doing it again on memory that is planned once.

A recording is a list of entries, each a kernel's launch or a call of a Python function.  The arrays
among their arguments are of two kinds.  What was made while recording (by `launch.empty`, or as a
function's result) is a *place*: a piece of the recording's own memory, of which pieces that are not
needed at the same time share the same bytes.  Everything else, parameters say, is used where it is.
A view has the place of the array that it looks into, so views cost nothing in a replay.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnlib_backends.base import Tracer
from nnlib_backends.common.trace import View, arrays_in
from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.calls import Buffer, Call, address
from nnlib_backends.numpy_backend.launch import Array
from nnlib_backends.numpy_backend.program import NumpyProgram
from nnlib_backends.user_line import user_line

__all__ = ["NumpyTracer"]


class NumpyTracer(Tracer):
    """Records on the NumPy backend."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.buffers: list[Buffer] = []
        self._by_owner: dict[int, Buffer] = {}

    def __enter__(self) -> NumpyTracer:
        self._token = launch.program.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        launch.program.reset(self._token)

    # What is recorded --------------------------------------------------------------------------

    def own(self, array: Array) -> None:
        """Give an array that was just made a storage."""
        key, by_owner = id(array), self._by_owner
        # an array that nobody holds any more makes room for another at the same address
        reference = weakref.ref(array, lambda _: by_owner.pop(key, None))
        buffer = Buffer(len(self.buffers), array.nbytes, reference)
        self.buffers.append(buffer)
        by_owner[key] = buffer

    def add_launch(
        self, kernel: Any, args: tuple[launch.Argument, ...], items: int, chunks: int
    ) -> None:
        """Write down a launch."""
        places = tuple([self._resolve(arg) for arg in args])
        self.calls.append(Call(kernel, places, line=user_line(), items=items, chunks=chunks))

    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that changes arrays in place; write it down unless it did so itself."""
        before = len(self.calls)
        function(*args, **options)
        if len(self.calls) == before:
            places = self._resolve(args), self._resolve(options)
            self.calls.append(Call(function, *places, line=user_line()))

    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns arrays; write it down unless it did so itself.

        A function that launches kernels has taken the memory of its results by `launch.empty`; one
        that made a view has computed nothing.  Results of any other kind came from NumPy, and so
        did what was written into an array that was given and returned: the whole function is called
        in a replay.
        """
        before = len(self.calls)
        result = _as_arrays(function(*args, **options))
        results, arguments = (
            list(arrays_in(value, np.ndarray)) for value in (result, (args, options))
        )
        given = {id(_owner(array)) for array in arguments}
        made = [
            array
            for array in results
            if id(_owner(array)) not in self._by_owner and id(_owner(array)) not in given
        ]
        filled = len(self.calls) == before and any(
            array is other for array in results for other in arguments
        )
        if made or filled:
            del self.calls[before:]
            for owner in {id(_owner(array)): _owner(array) for array in made}.values():
                self.own(owner)
            call_ = Call(
                function,
                self._resolve(args),
                self._resolve(options),
                line=user_line(),
                results=self._resolve(results),
            )
            self.calls.append(call_)
        return result

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while recording, or looks into one that was."""
        return id(_owner(array)) in self._by_owner

    def finish(self, results: Sequence[Array]) -> NumpyProgram:
        """Plan the memory; the results keep theirs."""
        places = [self._resolve(array) for array in results]
        for place in places:
            if isinstance(place, View):
                self.buffers[place.buffer].kept = True
        return NumpyProgram(self.calls, self.buffers, places)

    # Places ------------------------------------------------------------------------------------

    def _resolve(self, value: Any) -> Any:
        """Replace arrays that were made while recording by their places, at any depth."""
        if isinstance(value, np.ndarray):
            buffer = self._by_owner.get(id(_owner(value)))
            if buffer is None:
                return value
            buffer.first = min(buffer.first, len(self.calls))
            buffer.last = len(self.calls)
            return self._place(value, buffer)
        if isinstance(value, tuple | list):
            return type(value)([self._resolve(item) for item in value])
        if isinstance(value, dict):
            return {name: self._resolve(item) for name, item in value.items()}
        return value

    @staticmethod
    def _place(array: Array, buffer: Buffer) -> View:
        owner = buffer.owner()
        offset = address(array) - address(owner)
        return View(buffer.number, offset, array.shape, array.strides, array.dtype)


def _owner(array: Array) -> Array:
    """Return the array whose memory this one looks into."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _as_arrays(value: Any) -> Any:
    """Turn NumPy's scalars into arrays without axes, at any depth: only arrays have places."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, tuple | list):
        return type(value)([_as_arrays(item) for item in value])
    return value
