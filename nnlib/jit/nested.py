"""Flatten nested arguments and results into array leaves and a hashable key, as a pytree."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from nnlib.autograd import Tensor
from nnlib_backends.common.trace import is_plain, number_key

__all__ = ["Leaves", "array_of", "flatten", "is_array", "map_leaves"]

Leaves = list[Any]


def flatten(value: Any, leaves: Leaves) -> Any:
    """Append the arrays of a nested value to ``leaves``; return a hashable key of everything else.

    The key holds the structure, shapes, dtypes and plain Python values; other objects count by
    identity.  Two values with equal keys differ only in the values of their arrays.

    Examples
    --------
    >>> import nnlib
    >>> leaves = []
    >>> flatten((nnlib.zeros(2), 0.5), leaves) == flatten((nnlib.ones(2), 0.5), leaves)
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
        return (kind, *[flatten(item, leaves) for item in value])
    if kind is dict or isinstance(value, dict):
        return (kind, *[(name, flatten(item, leaves)) for name, item in value.items()])
    if is_array(value):
        leaves.append(value)
        return (getattr(value.dtype, "char", value.dtype), value.shape)
    if is_plain(value):
        return number_key(value)
    if kind is slice:
        return (
            slice,
            *[flatten(item, leaves) for item in (value.start, value.stop, value.step)],
        )
    if kind in (range, frozenset):
        return (kind, value)
    return _Identity(value)


def is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy, CuPy or another library, but not a NumPy scalar."""
    return hasattr(type(value), "__dlpack__") and hasattr(type(value), "dtype")


class _Identity:
    """Compare an object by identity; the reference keeps its id from being used again."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def map_leaves(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Copy a nested value with ``replace`` applied to each array, in the order of `flatten`.

    Examples
    --------
    >>> import nnlib
    >>> map_leaves({"x": [nnlib.ones(2), 0.5]}, lambda x: x + 1)
    {'x': [tensor([2., 2.]), 0.5]}
    """
    if isinstance(value, Tensor) or is_array(value):
        return replace(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*[map_leaves(item, replace) for item in value])
    if isinstance(value, tuple | list):
        return type(value)([map_leaves(item, replace) for item in value])
    if isinstance(value, dict):
        items = {name: map_leaves(item, replace) for name, item in value.items()}
        if type(value) is dict:
            return items
        copied = copy.copy(value)
        copied.update(items)
        return copied
    if isinstance(value, slice):
        return slice(*[map_leaves(part, replace) for part in (value.start, value.stop, value.step)])
    return value


def array_of(leaf: Any) -> Any:
    """Return the array of a tensor, or the array itself."""
    return leaf.data if isinstance(leaf, Tensor) else leaf
