"""Sum and mean of a whole array.

The array is cut into pieces by its size alone, so the result does not depend on the threads; their
sums are added in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib_backends.contract import PrimitiveKernel
from nnlib_backends.numpy_backend.launch import dense, empty, launch, split
from nnlib_backends.numpy_backend.native.abi import (
    doubles,
    integer,
    is_absent,
    kernel,
    number,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.native.activation import each
from nnlib_backends.numpy_backend.native.host import ELEMENTS, is_float32

__all__ = ["PRIMITIVES"]

f4, f8 = np.float32, np.float64
ZERO = f4(0.0)
BLOCK = 4096  # numbers that are added in float32


@kernel
def sum_pieces(t, chunk, start, stop):
    """Arguments: x, sums of the pieces, how many pieces, y and divisor (if there is one piece)."""
    pieces = integer(t, 2)
    size = vector(t, 0).size
    for piece in range(start, stop):
        x = vector(t, 0)[size * piece // pieces : size * (piece + 1) // pieces]
        total = f8(0.0)
        for begin in range(0, x.size, BLOCK):
            part = x[begin : begin + BLOCK]
            s = ZERO
            for i in range(part.size):
                s += part[i]
            total += s
        doubles(t, 1)[piece] = total
        if not is_absent(t, 3):
            vector(t, 3)[0] = f4(total / integer(t, 4))


@kernel
def add_pieces(t, chunk, start, stop):
    """Arguments: sums of the pieces, y, divisor."""
    sums, total = doubles(t, 0), f8(0.0)
    for i in range(sums.size):
        total += sums[i]
    vector(t, 1)[0] = f4(total / integer(t, 2))


@kernel
def fill_with_quotient(t, chunk, start, stop):
    """Arguments: g (one number), y, divisor."""
    y = vector(t, 1)[start:stop]
    value = vector(t, 0)[0] / number(t, 2)
    for i in range(y.size):
        y[i] = value


def _reduce(x: Any, axis: Any, keepdims: bool, mean: bool) -> Any:
    if not is_float32(x) or x.size == 0 or not x.flags.c_contiguous or axis is not None:
        return NotImplemented
    y = empty((1,) * x.ndim if keepdims else ())
    divisor = x.size if mean else 1
    pieces = max(1, min(64, x.size // ELEMENTS))
    sums = empty((pieces,), np.float64)
    if pieces == 1:
        launch(sum_pieces, x, sums, 1, y, divisor, items=1)
    else:
        launch(sum_pieces, x, sums, pieces, None, 1, items=pieces, chunks=split(x.size, ELEMENTS))
        launch(add_pieces, sums, y, divisor, items=1)
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
