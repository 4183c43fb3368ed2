"""Sum and mean, of a whole array or along axes; the norm of several arrays.

Arrays are cut into pieces by their sizes alone, so that results do not depend on the threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlib_backends.base import PrimitiveKernel
from nnlib_backends.numpy_backend.codegen.arguments import (
    doubles,
    integer,
    is_absent,
    kernel,
    matrix,
    number,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, add_rows, clear, flush, total_of
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, is_float32
from nnlib_backends.numpy_backend.kernels.activation import each
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["PRIMITIVES", "add_pieces", "global_norm"]

f4, f8 = np.float32, np.float64
WIDE, TILE = 64, 2048  # numbers that a row should have, and how many at a time
LEAST = 1 << 15  # numbers, below which NumPy is faster, in float64 too


@kernel
def sum_pieces(t, chunk, start, stop):
    """Arguments: x (rows, N), sums of the pieces, how many a row, y and divisor (if it is one)."""
    pieces, x = integer(t, 2), matrix(t, 0)
    for item in range(start, stop):
        row, piece = x[item // pieces], item % pieces
        total = total_of(row[row.size * piece // pieces : row.size * (piece + 1) // pieces])
        if is_absent(t, 3):
            doubles(t, 1)[item] = total
        else:
            vector(t, 3)[item] = f4(total / integer(t, 4))


@kernel
def sum_columns(t, chunk, start, stop):
    """Arguments as of `sum_pieces`, but x (A, N, C); then a row for each chunk, C, N.

    Long rows are cut into tiles, short ones are joined.
    """
    pieces, C, N = integer(t, 2), integer(t, 6), integer(t, 7)
    tiles, joined = (C + TILE - 1) // TILE, max(1, WIDE // C)
    for item in range(start, stop):
        outer, piece, left = item // tiles // pieces, item // tiles % pieces, item % tiles * TILE
        columns = min(TILE, C - left)
        place = item // tiles * C + left
        sums = doubles(t, 1)[place : place + columns]
        clear(sums)
        first, last = N * piece // pieces, N * (piece + 1) // pieces
        x = vector(t, 0)[(outer * N + first) * C + left : (outer * N + last) * C]
        some = matrix(t, 5)[chunk, : columns * joined]
        clear(some)
        long = (last - first) // joined
        for top in range(0, long, SOME):
            add_rows(x, C * joined, top, min(top + SOME, long), some)
            for part in range(joined):
                flush(some[part * columns : (part + 1) * columns], sums)
        for top in range(long * joined, last - first):
            row = x[top * C : top * C + columns]
            for j in range(row.size):
                sums[j] += row[j]
        if not is_absent(t, 3):
            y, divisor = vector(t, 3)[place : place + columns], integer(t, 4)
            for j in range(y.size):
                y[j] = f4(sums[j] / divisor)


@kernel
def add_pieces(t, chunk, start, stop):
    """Arguments: sums of the pieces (A, pieces, C), y (A, C), divisor, pieces, C."""
    sums, y = doubles(t, 0), vector(t, 1)
    pieces, C = integer(t, 3), integer(t, 4)
    for item in range(start, stop):
        total = f8(0.0)
        for piece in range(pieces):
            total += sums[(item // C * pieces + piece) * C + item % C]
        y[item] = f4(total / integer(t, 2))


@kernel
def squares_of_pieces(t, chunk, start, stop):
    """Arguments: x, sums of squares (float64: none overflows), pieces of x, number of the first."""
    pieces, first = integer(t, 2), integer(t, 3)
    size = vector(t, 0).size
    for piece in range(start, stop):
        x = vector(t, 0)[size * piece // pieces : size * (piece + 1) // pieces]
        total = f8(0.0)
        for i in range(x.size):
            v = f8(x[i])
            total += v * v
        doubles(t, 1)[first + piece] = total


@kernel
def root_of_sum(t, chunk, start, stop):
    """Arguments: sums of squares, y (one number)."""
    sums, total = doubles(t, 0), f8(0.0)
    for i in range(sums.size):
        total += sums[i]
    vector(t, 1)[0] = f4(np.sqrt(total))


@kernel
def fill_with_quotient(t, chunk, start, stop):
    """Arguments: g (one number), y, divisor."""
    y = vector(t, 1)[start:stop]
    value = vector(t, 0)[0] / number(t, 2)
    for i in range(y.size):
        y[i] = value


def _reduce(x: Any, axis: Any, keepdims: bool, mean: bool) -> Any:
    if not is_float32(x) or x.size == 0 or not x.flags.c_contiguous:
        return NotImplemented
    if axis is None:
        divisor = x.size if mean else 1
        return _sum_middle(x, 1, x.size, 1, (1,) * x.ndim if keepdims else (), divisor)
    axes = _axes(axis, x.ndim) if x.size >= LEAST else []
    if not axes:
        return NotImplemented  # errors, small arrays and what needs no sum are NumPy's
    shape, sizes = list(x.shape), x.shape
    for i in reversed(axes):
        shape[i : i + 1] = [1] if keepdims else []
    divisor = math.prod(sizes[i] for i in axes) if mean else 1
    while axes:  # axes side by side at a time, the last ones first
        end = axes.pop() + 1
        begin = end - 1
        while axes and axes[-1] == begin - 1:
            begin = axes.pop()
        before, after = sizes[:begin], sizes[end:]
        outer, n, inner = math.prod(before), math.prod(sizes[begin:end]), math.prod(after)
        sizes = before + after
        x = _sum_middle(x, outer, n, inner, sizes if axes else tuple(shape), 1 if axes else divisor)
    return x


def _axes(axis: Any, ndim: int) -> list[int]:
    """Numbers of axes in their order; none if one does not exist or is named twice."""
    named = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(i, int | np.integer) and -ndim <= i < ndim for i in named):
        return []
    axes = sorted({int(i) % ndim for i in named})
    return axes if len(axes) == len(named) else []


def _sum_middle(
    x: Array, outer: int, n: int, inner: int, shape: tuple[int, ...], divisor: int
) -> Array:
    """Return the sum over the middle of three axes, divided, in a given shape."""
    y = empty(shape)
    pieces = max(1, min(64 // outer, n * inner // ELEMENTS, n // SOME))
    items = outer * pieces * (-(-inner // TILE) if inner > 1 else 1)
    chunks = min(items, split(x.size, ELEMENTS))
    sums = empty((outer * pieces * inner if pieces > 1 or inner > 1 else 1,), np.float64)
    whole = y if pieces == 1 else None
    if inner == 1:
        launch(
            sum_pieces, x.reshape(outer, n), sums, pieces, whole, divisor, items=items,
            chunks=chunks,
        )  # fmt: skip
    else:
        some = empty((chunks, max(min(inner, TILE), WIDE)))
        launch(
            sum_columns, x, sums, pieces, whole, divisor, some, inner, n, items=items,
            chunks=chunks,
        )  # fmt: skip
    if pieces > 1:
        launch(add_pieces, sums, y, divisor, pieces, inner, items=y.size)
    return y


def global_norm(arrays: Sequence[Array]) -> Array:
    """Return the 2-norm of all values of some float32 arrays together, a 0-d array."""
    pieces = [max(1, min(64, x.size // ELEMENTS)) for x in arrays]
    sums, y, first = empty((sum(pieces),), np.float64), empty(()), 0
    for x, count in zip(arrays, pieces, strict=True):
        chunks = min(count, split(x.size, ELEMENTS))
        launch(squares_of_pieces, dense(x), sums, count, first, items=count, chunks=chunks)
        first += count
    launch(root_of_sum, sums, y, items=1)
    return y


def _spread(g: Any, shape: tuple[int, ...], axis: Any, mean: bool) -> Any:
    if not is_float32(g) or axis is not None:
        return NotImplemented
    dx = empty(shape)
    return each(fill_with_quotient, dense(g), dx, float(dx.size if mean else 1), out=dx)


def _sum(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return _reduce(x, axis, keepdims, False)


def _mean(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return _reduce(x, axis, keepdims, True)


def _sum_rule(g: Any, x_shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    return _spread(g, x_shape, axis, False)


def _mean_rule(g: Any, x_shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    return _spread(g, x_shape, axis, True)


PRIMITIVES: dict[str, PrimitiveKernel] = {
    "sum": PrimitiveKernel(_sum, {"x": _sum_rule}),
    "mean": PrimitiveKernel(_mean, {"x": _mean_rule}),
}
