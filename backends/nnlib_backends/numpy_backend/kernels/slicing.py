"""The gradient of a slice: zeros, with the result's gradient at the slice's position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnlib_backends.base import PrimitiveKernel
from nnlib_backends.numpy_backend.codegen.arguments import Matrix, kernel
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, is_float32
from nnlib_backends.numpy_backend.launch import dense, empty, launch, split

__all__ = ["PRIMITIVES"]

ZERO = np.float32(0.0)


@kernel
def put_slice(chunk, start, stop, values: Matrix, y: Matrix, first: int):
    """Numbers ``start … stop`` of y (rows, size): values (rows, n) in columns from ``first`` on.

    A chunk may begin and end inside a row.
    """
    size, last = y.shape[1], first + values.shape[1]
    for r in range(start // size, (stop + size - 1) // size):
        row, source = y[r], values[r]
        low, high = max(start - r * size, 0), min(stop - r * size, size)
        for j in range(low, min(high, first)):
            row[j] = ZERO
        for j in range(max(low, first), min(high, last)):
            row[j] = source[j - first]
        for j in range(max(low, last), high):
            row[j] = ZERO


def _cut(key: Any, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return axis, start and stop, if a key slices one axis at most, with a step of 1."""
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > len(shape):
        return None
    found = None
    for axis, part in enumerate(parts):
        if type(part) is int:
            place = part % shape[axis] if shape[axis] else 0
            bounds = place, place + 1
        elif type(part) is slice and part.step in (None, 1):
            start, stop, _ = part.indices(shape[axis])
            bounds = start, max(start, stop)
        else:
            return None
        if type(part) is int or bounds != (0, shape[axis]):
            if found is not None:
                return None
            found = axis, *bounds
    return found


def _put(values: Any, *, key: Any, shape: tuple[int, ...]) -> Any:
    cut = _cut(key, shape)
    if cut is None or not is_float32(values) or 0 in shape:
        return NotImplemented
    axis, start, stop = cut
    y, rows, inner = empty(shape), math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    launch(
        put_slice, dense(values).reshape(rows, (stop - start) * inner),
        y.reshape(rows, shape[axis] * inner), start * inner, items=y.size,
        chunks=split(y.size, ELEMENTS),
    )  # fmt: skip
    return y


PRIMITIVES = {"add_at": PrimitiveKernel(_put)}
