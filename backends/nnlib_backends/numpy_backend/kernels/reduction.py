"""Sum and mean, of a whole array or along axes; the norm of several arrays.

Arrays are divided into pieces by their sizes alone, so that results do not depend on the threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlib_backends.base import PrimitiveKernel
from nnlib_backends.numpy_backend.codegen.arguments import (
    Doubles,
    Matrix,
    Nullable,
    Vector,
    is_given,
    kernel,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, add_rows, clear, flush, total_of
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, is_float32
from nnlib_backends.numpy_backend.kernels.activation import each
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["PRIMITIVES", "add_pieces", "global_norm"]

f4, f8 = np.float32, np.float64
WIDE, TILE = 64, 2048  # least numbers of a row, and numbers at a time
LEAST = 1 << 15  # numbers below which NumPy is faster, also in float64


@kernel
def sum_pieces(
    chunk, start, stop, x: Matrix, sums: Doubles, pieces: int, y: Nullable[Vector], divisor: int
):
    """Sums of the rows of x (A, N), piece by piece; divided and written to y (A) if it is one."""
    for item in range(start, stop):
        row, piece = x[item // pieces], item % pieces
        total = total_of(row[row.size * piece // pieces : row.size * (piece + 1) // pieces])
        if is_given(y):
            y[item] = f4(total / divisor)
        else:
            sums[item] = total


@kernel
def sum_columns(
    chunk, start, stop, x: Vector, totals: Doubles, pieces: int, y: Nullable[Vector], divisor: int,
    work: Matrix, C: int, N: int,
):  # fmt: skip
    """Like `sum_pieces`, over the middle axis of x (A, N, C); the workspace has a row a chunk.

    Long rows are cut into tiles, short ones are joined.
    """
    tiles, joined = (C + TILE - 1) // TILE, max(1, WIDE // C)
    for item in range(start, stop):
        outer, piece, left = item // tiles // pieces, item // tiles % pieces, item % tiles * TILE
        columns = min(TILE, C - left)
        place = item // tiles * C + left
        sums = totals[place : place + columns]
        clear(sums)
        first, last = N * piece // pieces, N * (piece + 1) // pieces
        rows = x[(outer * N + first) * C + left : (outer * N + last) * C]
        some = work[chunk, : columns * joined]
        clear(some)
        long = (last - first) // joined
        for top in range(0, long, SOME):
            add_rows(rows, C * joined, top, min(top + SOME, long), some)
            for part in range(joined):
                flush(some[part * columns : (part + 1) * columns], sums)
        for top in range(long * joined, last - first):
            row = rows[top * C : top * C + columns]
            for j in range(row.size):
                sums[j] += row[j]
        if is_given(y):
            out = y[place : place + columns]
            for j in range(out.size):
                out[j] = f4(sums[j] / divisor)


@kernel
def add_pieces(chunk, start, stop, sums: Doubles, y: Vector, divisor: int, pieces: int, C: int):
    """Add up the sums of the pieces, (A, pieces, C), divided: y (A, C)."""
    for item in range(start, stop):
        total = f8(0.0)
        for piece in range(pieces):
            total += sums[(item // C * pieces + piece) * C + item % C]
        y[item] = f4(total / divisor)


@kernel
def squares_of_pieces(chunk, start, stop, x: Vector, sums: Doubles, pieces: int, first: int):
    """Sums of squares of the pieces of x, in float64 against overflow, from ``sums[first]`` on."""
    for piece in range(start, stop):
        part = x[x.size * piece // pieces : x.size * (piece + 1) // pieces]
        total = f8(0.0)
        for i in range(part.size):
            v = f8(part[i])
            total += v * v
        sums[first + piece] = total


@kernel
def root_of_sum(chunk, start, stop, sums: Doubles, y: Vector):
    """The square root of a sum, in y (1)."""
    total = f8(0.0)
    for i in range(sums.size):
        total += sums[i]
    y[0] = f4(np.sqrt(total))


@kernel
def fill_with_quotient(chunk, start, stop, g: Vector, y: Vector, divisor: float):
    """Fill y with g (1), divided."""
    y = y[start:stop]
    value = g[0] / divisor
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
        return NotImplemented  # errors, small arrays and empty tuples of axes: NumPy's
    shape, sizes = list(x.shape), x.shape
    for i in reversed(axes):
        shape[i : i + 1] = [1] if keepdims else []
    divisor = math.prod(sizes[i] for i in axes) if mean else 1
    while axes:  # neighbouring axes at a time, the last ones first
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
    """Return sorted axes; empty if one does not exist or is repeated."""
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
