"""``concatenate`` and ``stack`` that a CUDA graph can capture.

CuPy joins more than eight small arrays by a kernel whose table of addresses is copied from the
host, which is an error during capture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

__all__ = ["AT_ONCE", "make_joins"]

#: Number of arrays that CuPy joins without a table of addresses.
AT_ONCE = 8


def make_joins(xp: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return ``concatenate`` and ``stack`` in terms of CuPy's.

    Parameters
    ----------
    xp : namespace
        CuPy's own.
    """

    def concatenate(arrays: Sequence[Any], axis: int | None = 0, **options: Any) -> Any:
        """Join arrays along an axis, in groups of `AT_ONCE`."""
        if len(arrays) <= AT_ONCE or options:
            return xp.concatenate(arrays, axis=axis, **options)
        if axis is None:
            return concatenate([array.ravel() for array in arrays])
        lengths = [xp.moveaxis(array, axis, 0).shape[0] for array in arrays]
        shape = list(arrays[0].shape)
        shape[axis] = sum(lengths)
        dtype = reduce(xp.promote_types, (array.dtype for array in arrays))
        out = xp.empty(tuple(shape), dtype=dtype)
        end = 0
        for i in range(0, len(arrays), AT_ONCE):
            begin, end = end, end + sum(lengths[i : i + AT_ONCE])
            part = xp.moveaxis(xp.moveaxis(out, axis, 0)[begin:end], 0, axis)
            xp.concatenate(arrays[i : i + AT_ONCE], axis=axis, out=part)
        return out

    def stack(arrays: Sequence[Any], axis: int = 0, **options: Any) -> Any:
        """Join arrays of one shape along a new axis."""
        if len(arrays) <= AT_ONCE or options:
            return xp.stack(arrays, axis=axis, **options)
        return concatenate([xp.expand_dims(array, axis) for array in arrays], axis)

    return concatenate, stack
