"""Taking nested arguments and results apart into arrays and the rest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from nnlib.autograd import Tensor
from nnlib_backends.common.trace import is_plain, number_key

__all__ = ["Leaves", "bare", "is_array", "rebuilt", "take_apart"]

Leaves = list[Any]


def take_apart(value: Any, leaves: Leaves) -> Any:
    """Append the arrays of a nested value to ``leaves``; return the rest as something hashable.

    Two values with equal rests differ only in the values of their arrays: shapes, dtypes and plain
    Python values are part of the rest, other objects count by identity.

    Examples
    --------
    >>> import nnlib
    >>> leaves = []
    >>> take_apart((nnlib.zeros(2), 0.5), leaves) == take_apart((nnlib.ones(2), 0.5), leaves)
    True
    >>> len(leaves)
    2
    """
    if isinstance(value, Tensor):
        leaves.append(value)
        array = value.data
        return (array.dtype.char, array.shape, value.backend, value.node is not None)
    kind = type(value)
    if kind is tuple or isinstance(value, tuple | list):
        return (kind, *[take_apart(item, leaves) for item in value])
    if kind is dict or isinstance(value, dict):
        return (kind, *[(name, take_apart(item, leaves)) for name, item in value.items()])
    if is_array(value):
        leaves.append(value)
        return (getattr(value.dtype, "char", value.dtype), value.shape)
    if is_plain(value):
        return number_key(value)
    if kind is slice:
        return (
            slice,
            *[take_apart(item, leaves) for item in (value.start, value.stop, value.step)],
        )
    if kind in (range, frozenset):
        return (kind, value)
    return _Identity(value)


def is_array(value: Any) -> bool:
    """Tell whether a value is an array of NumPy, CuPy or another library; no scalar of NumPy's."""
    return hasattr(type(value), "__dlpack__") and hasattr(type(value), "dtype")


class _Identity:
    """An object that is equal to nothing but itself; held, so that its id stays its own."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def rebuilt(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Copy a nested value with its arrays replaced, in the order of `take_apart`.

    Examples
    --------
    >>> import nnlib
    >>> rebuilt({"x": [nnlib.ones(2), 0.5]}, lambda x: x + 1)
    {'x': [tensor([2., 2.]), 0.5]}
    """
    if isinstance(value, Tensor) or is_array(value):
        return replace(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*[rebuilt(item, replace) for item in value])
    if isinstance(value, tuple | list):
        return type(value)([rebuilt(item, replace) for item in value])
    if isinstance(value, dict):
        items = {name: rebuilt(item, replace) for name, item in value.items()}
        if type(value) is dict:
            return items
        copied = copy.copy(value)
        copied.update(items)
        return copied
    if isinstance(value, slice):
        return slice(*[rebuilt(part, replace) for part in (value.start, value.stop, value.step)])
    return value


def bare(leaf: Any) -> Any:
    """Return the array of a tensor; an array is one."""
    return leaf.data if isinstance(leaf, Tensor) else leaf
