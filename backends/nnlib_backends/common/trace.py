"""The trace of a function: its calls, buffers, scalar inputs and results.

An array that was made while tracing is a `View` of a `Buffer`; any other array, such as a
parameter, is an array from outside and used where it lies.

Two traces are equal if they call the same functions with the same Python values, views and arrays
from outside.
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

from nnlib_backends.base import Array, Backend, GradOut
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
    """Position and layout of an array in a buffer."""

    buffer: int
    offset: int  #: bytes from the buffer's first element
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any  #: not its ``str``, which is ambiguous for bfloat16


@dataclass(eq=False)
class Buffer:
    """Memory of an array that was made while tracing.

    Attributes
    ----------
    number : int
        Position in `Trace.buffers`.
    nbytes : int
    owner : weak reference
        To the object that holds the memory.
    first, last : int
        Positions of the first and the last call that use it; ``first > last`` if none does.
    kept : bool
        Whether it must keep its values after a replay.
    """

    number: int
    nbytes: int
    owner: Any
    first: int = sys.maxsize
    last: int = -1
    kept: bool = False


@dataclass(frozen=True)
class Call:
    """A call of a function, or a launch of a compiled kernel.

    Attributes
    ----------
    function : callable or CpuKernel
    args, options
        Arguments, with views for arrays that were made while tracing.
    results : list of (View or array) or None
        ``None`` if the function returns nothing.
    line : str
        The user's line, see `user_line`.
    items, chunks : int
        Of a launch; 0 for any other call.
    tf32 : bool or None
        Value of `tf32_allowed` during the call.
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
        named = (
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
        The array that they are written to.
    """

    function: Callable[..., Sequence[float]]
    args: tuple[Any, ...]
    view: View


class Memory(ABC):
    """Access to the memory of a backend's arrays.

    Attributes
    ----------
    array_type : type
    """

    array_type: type

    def owner(self, array: Array) -> Any:
        """Return the weakly referable object that holds the array's memory."""
        while isinstance(array.base, self.array_type):
            array = array.base
        return array

    @abstractmethod
    def address(self, array: Any) -> int:
        """Return the address of the first element of an array or an owner."""

    @abstractmethod
    def to_host(self, array: Array) -> Any:
        """Return the array as a NumPy array; may wait for the device."""

    def same(self, a: Array, b: Array) -> bool:
        """Tell whether two arrays are identical or equal; may wait for the device."""
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
        Of the traced function, in the order of `finish`.
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
        # the id of a deleted array may be reused
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
        """Add a new array, into which ``function(*args)`` is written before each replay."""
        buffer = self.add_buffer(self.memory.owner(array))
        buffer.first, buffer.kept = -1, True
        self.scalar_inputs.append(ScalarInput(function, args, self._view(array)))

    def made(self, array: Array) -> bool:
        """Tell whether an array was made while tracing, or is a view of one that was."""
        return id(self.memory.owner(array)) in self._by_owner

    def finish(self, results: Sequence[Array]) -> Trace:
        """Add the results of the function, whose buffers keep their values."""
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
        """Replace arrays that were made while tracing by views, at any depth, for the next call."""
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
        """Describe the first difference from another trace of the same function, if any."""
        for mine, theirs in zip(self.calls, other.calls, strict=False):
            if mine.function != theirs.function or mine.items != theirs.items:
                return f"{theirs.line}: another operation than in the first run"
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
            return f"{line}: an operation that only one of the runs computed"
        if self.scalar_inputs != other.scalar_inputs:
            return "scalar inputs (of an optimizer or a random function) that differ between runs"
        return None


def is_plain(value: Any) -> bool:
    """Tell whether a value is a scalar, a string, None, or a tuple of such.

    Examples
    --------
    >>> is_plain(1.5), is_plain(("a", None)), is_plain([1])
    (True, True, False)
    """
    if isinstance(value, tuple):
        return type(value) is tuple and all(map(is_plain, value))
    return isinstance(value, _PLAIN) or _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    """Whether a value is a NumPy scalar."""
    return (
        type(value).__module__ == "numpy"
        and getattr(value, "shape", None) == ()
        and (hasattr(value, "item") and not hasattr(value, "__setitem__"))
    )


def number_key(value: Any) -> Any:
    """Return a key of a value and its type, which distinguishes −0.0 from 0.0 and equates NaNs.

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
    """Yield the arrays (instances of ``kind``) in tuples, lists, dicts and `GradOut`, in order.

    Examples
    --------
    >>> list(arrays_in([1, ("two", {"three": 3}), GradOut(4)], int))
    [1, 3, 4]
    """
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays_in(item, kind)
    elif isinstance(value, GradOut):
        yield from arrays_in(value.array, kind)


def replaced(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """Copy tuples, lists, dicts and `GradOut`, with instances of ``kind`` replaced at any depth.

    Examples
    --------
    >>> replaced((1, [2.0, {"n": 3}]), int, lambda n: -n)
    (-1, [2.0, {'n': -3}])
    >>> replaced(GradOut(1), int, lambda n: -n).array
    -1
    """
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)([replaced(item, kind, replace) for item in value])
    if isinstance(value, dict):
        return {name: replaced(item, kind, replace) for name, item in value.items()}
    if isinstance(value, GradOut):
        return GradOut(replaced(value.array, kind, replace), value.accumulate)
    return value


def difference(
    mine: Any, theirs: Any, kind: type, same: Callable[[Array, Array], bool]
) -> str | None:
    """Describe the first difference between two calls' arguments, if any.

    Parameters
    ----------
    mine, theirs : nested arguments
        Of the first and the second run.
    kind : type
        The backend's array type.
    same : callable
        Whether two arrays from outside are identical or equal.

    Examples
    --------
    >>> difference((1, [2]), (1, [3]), bytes, lambda a, b: a == b)[:14]
    '3 instead of 2'
    >>> difference(GradOut(None, True), GradOut(), bytes, lambda a, b: a == b)[:21]
    'False instead of True'
    """
    if isinstance(mine, tuple | list) and isinstance(theirs, tuple | list):
        if len(mine) != len(theirs):
            return "another number of arguments"
        pairs = zip(mine, theirs, strict=True)
        return next((what for pair in pairs if (what := difference(*pair, kind, same))), None)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return difference(list(mine.items()), list(theirs.items()), kind, same)
    if isinstance(mine, GradOut) and isinstance(theirs, GradOut):
        mine, theirs = (mine.array, mine.accumulate), (theirs.array, theirs.accumulate)
        return difference(mine, theirs, kind, same)
    if isinstance(mine, kind) and isinstance(theirs, kind):
        return None if same(mine, theirs) else _OTHER_VALUES
    if isinstance(mine, kind) or isinstance(theirs, kind):
        return (
            "an array from outside in place of one that was made while tracing, or the other way "
            "round"
        )
    if mine is theirs or (same_value(mine, theirs) if is_plain(mine) else mine == theirs):
        return None
    if isinstance(mine, View) and isinstance(theirs, View):
        return f"an array of shape {theirs.shape} instead of {mine.shape}, or of another origin"
    return (
        f"{theirs!r} instead of {mine!r}. A replay cannot change a Python value: give it to the "
        "compiled function as an argument"
    )


_OTHER_VALUES = (
    "an array that was made without nnlib's operations, and now has other values. "
    "Give it to the compiled function as an argument"
)
