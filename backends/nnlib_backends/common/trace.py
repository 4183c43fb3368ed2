"""What recordings of every backend are made of: places of arrays, and the comparison of two runs.

An array that was made while recording has a *place*: which piece of memory it lies in, and how.
Two recordings of one function are the same if they call the same functions with the same Python
values, with arrays in the same places, and with the same arrays from outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nnlib_backends.base import Array

__all__ = ["View", "arrays_in", "difference", "is_plain", "number_key", "replaced", "same_value"]

_PLAIN = (int, float, bool, str, bytes, complex, type(None))


@dataclass(frozen=True)
class View:
    """An array in a storage: where, and of which kind."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any  #: what NumPy makes a dtype of


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
