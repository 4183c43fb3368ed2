"""Indexing with CuPy's rules: see ``cupy/_core/_routines_indexing.pyx``."""

from typing import Any

import numpy as np

from strict_backend.kernels import is_capturing

Array = np.ndarray[Any, Any]

_ORDERS = np.random.default_rng(0)  # random orders of atomic additions


def item(array: Array, key: Any) -> Any:
    """Read elements; an index out of range wraps around."""
    result = array[wrapped(array.shape, key)]
    return np.ascontiguousarray(result) if _has_arrays(key) else result


def set_item(array: Array, key: Any, value: Any) -> None:
    """Write elements; values for a repeated index must be equal, because CuPy may keep either."""
    key = wrapped(array.shape, key)
    if _has_arrays(key) and np.ndim(value) and not is_capturing():
        places, values = _flat(array, key, value)
        results = [np.zeros(array.size, array.dtype) for _ in range(2)]
        results[0][places] = values
        results[1][places[::-1]] = values[::-1]
        if not np.array_equal(*(result.view(np.uint8) for result in results)):
            raise RuntimeError("different values for one index: it is undefined which cupy keeps")
    array[key] = value


def add_at(array: Array, key: Any, value: Any) -> None:
    """Add values, floating-point numbers in a random order, like atomic operations."""
    key = wrapped(array.shape, key)
    places, values = _flat(array, key, value)
    if array.dtype.kind == "f" and _has_arrays(key):
        order = _ORDERS.permutation(places.size)
        places, values = places[order], values[order]
    total = array.reshape(-1).copy()
    np.add.at(total, places, values)
    array[...] = total.reshape(array.shape)


def take(array: Array, indices: Any, axis: Any = None, out: Any = None) -> Any:
    return np.take(array, indices, axis=axis, out=out, mode="wrap")


def take_along_axis(array: Array, indices: Array, axis: Any) -> Any:
    length = array.size if axis is None else array.shape[axis]
    return np.take_along_axis(array, indices % length if length else indices, axis=axis)


def wrapped(shape: tuple[int, ...], key: Any) -> Any:
    """Return a key whose integer arrays are wrapped into range."""
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(np.asarray(part) if isinstance(part, list) else part for part in parts)
    parts = tuple(
        part.astype(np.int64) if isinstance(part, np.ndarray) and not part.size else part
        for part in parts
    )
    axis, kept = 0, []
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype.kind in "iu":
            length = shape[axis] if axis < len(shape) else 0
            kept.append(part % length if length else part)
        else:
            kept.append(part)
        axis += len(shape) - sum(map(_axes, parts)) if part is Ellipsis else _axes(part)
    return tuple(kept) if isinstance(key, tuple) else kept[0]


def _axes(part: Any) -> int:
    """Return the number of axes that a part of a key indexes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def _has_arrays(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, np.ndarray) and part.ndim for part in parts)


def _flat(array: Array, key: Any, value: Any) -> tuple[Array, Array]:
    """Return the flat indices of a key, and a value for each."""
    places = np.arange(array.size).reshape(array.shape)[key]
    values = np.broadcast_to(np.asarray(value).astype(array.dtype), places.shape)
    return np.reshape(places, -1), values.reshape(-1)
