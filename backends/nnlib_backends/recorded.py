"""What recordings of every backend are made of: places of arrays, and the comparison of two runs.

An array that was made while recording has a *place*: which piece of memory it lies in, and how.
Two recordings of one function are the same if they call the same functions with the same Python
values, with arrays in the same places, and with the same arrays from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nnlib_backends.contract import Array

__all__ = ["Place", "arrays_in", "difference", "replaced"]


@dataclass(frozen=True)
class Place:
    """An array in a storage: where, and of which kind."""

    storage: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any  #: what NumPy makes a dtype of


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
    if mine is theirs or mine == theirs or (mine != mine and theirs != theirs):
        return None
    if isinstance(mine, Place) and isinstance(theirs, Place):
        return f"an array of shape {theirs.shape} instead of {mine.shape}, or of another origin"
    return (
        f"{theirs!r} instead of {mine!r}. A recording cannot change a Python value: give it to "
        "the compiled function as an argument"
    )


_OTHER_VALUES = (
    "an array that was made without nnlib's operations, and now has other values. "
    "Give it to the compiled function as an argument"
)
