"""The trace of a function: which calls it made, and on which memory.

A tracer of any backend writes calls into a `Trace` while the function runs.  An array that was made
meanwhile is a `View` of a `Buffer`; any other array, a parameter say, is used where it is.  Views
of one buffer share its memory, so a reshape or a slice costs nothing in a replay.  Numbers that
change from step to step are a `ScalarInput`.

Two traces are the same if they call the same functions with the same Python values, with the same
views, and with the same arrays from outside.
"""

from __future__ import annotations

import math
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnlib_backends.base import Array, Backend
from nnlib_backends.dtypes import is_floating
from nnlib_backends.user_line import user_line

__all__ = [
    "Buffer",
    "Call",
    "Memory",
    "ScalarInput",
    "Trace",
    "View",
    "arrays_in",
    "difference",
    "is_plain",
    "number_key",
    "replaced",
    "same_value",
]

_PLAIN = (int, float, bool, str, bytes, complex, type(None))


@dataclass(frozen=True)
class View:
    """Where an array lies in a buffer, and how."""

    buffer: int
    offset: int  #: bytes from the buffer's first element
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any  #: the dtype itself: the name of bfloat16's is that of two bytes


@dataclass(eq=False)
class Buffer:
    """Memory of an array that was made while tracing.

    Attributes
    ----------
    number : int
        In order of making.
    nbytes : int
    owner : weak reference
        To the object that holds the memory.
    first, last : int
        The first and the last call that uses it; ``first > last`` if none does.
    kept : bool
        Whether it must hold its values when a replay is over.
    """

    number: int
    nbytes: int
    owner: Any
    first: int = sys.maxsize
    last: int = -1
    kept: bool = False


@dataclass(frozen=True)
class Call:
    """One call of a function, or one launch of a compiled kernel.

    Attributes
    ----------
    function : callable or NativeKernel
    args, options
        Arguments, with views for arrays that were made while tracing.
    results : list of (View or array) or None
        Where the results lie; ``None`` if the function returns nothing.
    line : str
        The line of the user's program that it came from.
    items, chunks : int
        Of a launch; else 0.
    tf32 : bool or None
        What `precision.tf32_allowed` was then.
    """

    function: Any
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    results: list[Any] | None = None
    line: str = ""
    items: int = 0
    chunks: int = 0
    tf32: bool | None = None

    @property
    def title(self) -> str:
        """The name of the kernel, of the operation, or of the function."""
        named = (  # an update rule is itself the function; the name of a backend says nothing
            a.name
            for a in (self.function, *self.args)
            if isinstance(getattr(a, "name", None), str) and not isinstance(a, Backend)
        )
        name: str = getattr(self.function, "__qualname__", repr(self.function))
        return next(named, name)


@dataclass(frozen=True)
class ScalarInput:
    """Numbers that the host computes before each replay.

    Attributes
    ----------
    function : callable
    args : tuple
        ``function(*args)`` returns the numbers.
    view : View
        Where they go.
    """

    function: Callable[..., Sequence[float]]
    args: tuple[Any, ...]
    view: View


class Memory(ABC):
    """How the arrays of a backend lie in memory.

    Attributes
    ----------
    array_type : type
        Of its arrays.
    """

    array_type: type

    def owner(self, array: Array) -> Any:
        """Return the object (weakly referable) that lives as long as the array's memory is used."""
        while isinstance(array.base, self.array_type):
            array = array.base
        return array

    @abstractmethod
    def address(self, array: Any) -> int:
        """Return where the first element of an array, or of an owner, is."""

    @abstractmethod
    def to_host(self, array: Array) -> Any:
        """Return the array's values as an array of NumPy; may wait for the device."""

    def same(self, a: Array, b: Array) -> bool:
        """Tell whether two arrays are one, or have the same values; may wait for the device."""
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if self.address(a) == self.address(b) and a.strides == b.strides:
            return True
        one, other = self.to_host(a), self.to_host(b)
        return np.array_equal(one, other, equal_nan=is_floating(a.dtype))


class Trace:
    """The calls of one run of a function, with their buffers, scalar inputs and results.

    Parameters
    ----------
    memory : Memory
        Of the backend on which the function computes.

    Attributes
    ----------
    calls : list of Call
    buffers : list of Buffer
    scalar_inputs : list of ScalarInput
    results : list of (View or array)
        Of the whole function, in the order of `finish`.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.calls: list[Call] = []
        self.buffers: list[Buffer] = []
        self.scalar_inputs: list[ScalarInput] = []
        self.results: list[Any] = []
        self._by_owner: dict[int, Buffer] = {}

    # Writing ---------------------------------------------------------------------------------

    def add_buffer(self, owner: Any) -> Buffer:
        """Add the memory of an array that was just made."""
        key, by_owner = id(owner), self._by_owner
        # the id of an array that is gone may become that of another array
        reference = weakref.ref(owner, lambda _: by_owner.pop(key, None))
        buffer = Buffer(len(self.buffers), owner.nbytes, reference)
        self.buffers.append(buffer)
        by_owner[key] = buffer
        return buffer

    def new_owners(self, results: Sequence[Array], arguments: Sequence[Array]) -> list[Any]:
        """Return the owners of results that are in no buffer and own no argument, each once."""
        given = {id(self.memory.owner(array)) for array in arguments}
        owners = {id(owner): owner for owner in map(self.memory.owner, results)}
        return [
            owner for key, owner in owners.items() if key not in self._by_owner and key not in given
        ]

    def add_call(
        self,
        function: Any,
        args: tuple[Any, ...],
        options: dict[str, Any],
        results: list[Array] | None = None,
        **details: Any,
    ) -> None:
        """Add a call; ``details`` are further fields of `Call`."""
        args, options, results = self.resolve((args, options, results))
        self.calls.append(Call(function, args, options, results, user_line(), **details))

    def add_scalar_input(
        self, array: Array, function: Callable[..., Sequence[float]], args: tuple[Any, ...]
    ) -> None:
        """Add a new array as one that gets ``function(*args)`` before each replay."""
        buffer = self.add_buffer(self.memory.owner(array))
        buffer.first, buffer.kept = -1, True
        self.scalar_inputs.append(ScalarInput(function, args, self._view(array)))

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while tracing, or looks into one that was."""
        return id(self.memory.owner(array)) in self._by_owner

    def finish(self, results: Sequence[Array]) -> Trace:
        """Write down the results of the function, whose buffers keep their values."""
        self.results = [self.resolve(array) for array in results]
        for view in self.results:
            if isinstance(view, View):
                self.buffers[view.buffer].kept = True
        return self

    # Reading ---------------------------------------------------------------------------------

    def arrays(self, value: Any) -> list[Array]:
        """Return the arrays in tuples, lists and dicts, in order."""
        return list(arrays_in(value, self.memory.array_type))

    def resolve(self, value: Any) -> Any:
        """Replace arrays that were made while tracing by their views, at any depth.

        Their buffers are used by the call that is added next.
        """
        return replaced(value, self.memory.array_type, self._view)

    def _view(self, array: Array) -> Array | View:
        owner = self.memory.owner(array)
        buffer = self._by_owner.get(id(owner))
        if buffer is None:
            return array
        now = len(self.calls)
        buffer.first, buffer.last = min(buffer.first, now), now
        offset = self.memory.address(array) - self.memory.address(owner)
        return View(buffer.number, offset, array.shape, array.strides, array.dtype)

    def difference(self, other: Trace) -> str | None:
        """Say where another trace of the same function did something else."""
        for mine, theirs in zip(self.calls, other.calls, strict=False):
            if mine.function != theirs.function or mine.items != theirs.items:
                return f"{theirs.line}: another operation than the first time"
            what = difference(
                (mine.args, mine.options, mine.results, mine.tf32),
                (theirs.args, theirs.options, theirs.results, theirs.tf32),
                self.memory.array_type,
                self.memory.same,
            )
            if what:
                return f"{theirs.line}: {what}"
        if len(self.calls) != len(other.calls):
            longer = max(self.calls, other.calls, key=len)
            line = longer[min(len(self.calls), len(other.calls))].line
            return f"{line}: an operation that was made only once"
        if self.scalar_inputs != other.scalar_inputs:
            return "other numbers are asked for in every step (of an optimizer, or at random)"
        return None


def is_plain(value: Any) -> bool:
    """Tell whether a value is a number, a text, or nothing else than such in tuples.

    Examples
    --------
    >>> is_plain(1.5), is_plain(("a", None)), is_plain([1])
    (True, True, False)
    """
    if isinstance(value, tuple):
        return type(value) is tuple and all(map(is_plain, value))
    return isinstance(value, _PLAIN) or _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    """Whether a value is one number of NumPy's."""
    return (
        type(value).__module__ == "numpy"
        and getattr(value, "shape", None) == ()
        and (hasattr(value, "item") and not hasattr(value, "__setitem__"))
    )


def number_key(value: Any) -> Any:
    """Return something that is equal for the same value of the same type only.

    Examples
    --------
    >>> number_key(1) == number_key(1.0), number_key(0.0) == number_key(-0.0)
    (False, False)
    >>> number_key(float("nan")) == number_key(float("nan"))
    True
    """
    if _is_scalar(value):
        return type(value), value.dtype.str, value.tobytes()
    if isinstance(value, float) and (value == 0 or value != value):
        return type(value), "nan" if value != value else math.copysign(1, value), 0.0
    if isinstance(value, complex):
        return complex, number_key(value.real), number_key(value.imag)
    return type(value), value


def same_value(one: Any, other: Any) -> bool:
    """Tell whether two values are one object, or plain and equal in type and value.

    Examples
    --------
    >>> same_value(0.5, 0.5), same_value(1, True), same_value([], [])
    (True, False, False)
    """
    if one is other:
        return True
    if type(one) is not type(other) or not is_plain(one):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(number_key(one) == number_key(other))


def arrays_in(value: Any, kind: type) -> Iterator[Array]:
    """Yield the arrays (instances of ``kind``) in tuples, lists and dicts, in order.

    Examples
    --------
    >>> list(arrays_in([1, ("two", {"three": 3})], int))
    [1, 3]
    """
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays_in(item, kind)


def replaced(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """Copy tuples, lists and dicts, with instances of ``kind`` replaced at any depth.

    Examples
    --------
    >>> replaced((1, [2.0, {"n": 3}]), int, lambda n: -n)
    (-1, [2.0, {'n': -3}])
    """
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)([replaced(item, kind, replace) for item in value])
    if isinstance(value, dict):
        return {name: replaced(item, kind, replace) for name, item in value.items()}
    return value


def difference(
    mine: Any, theirs: Any, kind: type, same: Callable[[Array, Array], bool]
) -> str | None:
    """Say in what two calls' arguments differ, if they do.

    Parameters
    ----------
    mine, theirs : nested arguments
        Of the first and the second run.
    kind : type
        Of the backend's arrays.
    same : callable
        Whether two arrays from outside are one, or have the same values.

    Examples
    --------
    >>> difference((1, [2]), (1, [3]), bytes, lambda a, b: a == b)[:14]
    '3 instead of 2'
    """
    if isinstance(mine, tuple | list) and isinstance(theirs, tuple | list):
        if len(mine) != len(theirs):
            return "another number of arguments"
        pairs = zip(mine, theirs, strict=True)
        return next((what for pair in pairs if (what := difference(*pair, kind, same))), None)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return difference(list(mine.items()), list(theirs.items()), kind, same)
    if isinstance(mine, kind) and isinstance(theirs, kind):
        return None if same(mine, theirs) else _OTHER_VALUES
    if isinstance(mine, kind) or isinstance(theirs, kind):
        return (
            "an array from outside in the place of one that was made inside, or the other way round"
        )
    if mine is theirs or (same_value(mine, theirs) if is_plain(mine) else mine == theirs):
        return None
    if isinstance(mine, View) and isinstance(theirs, View):
        return f"an array of shape {theirs.shape} instead of {mine.shape}, or of another origin"
    return (
        f"{theirs!r} instead of {mine!r}. A recording cannot change a Python value: give it to "
        "the compiled function as an argument"
    )


_OTHER_VALUES = (
    "an array that was made without nnlib's operations, and now has other values. "
    "Give it to the compiled function as an argument"
)
