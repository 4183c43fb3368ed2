"""Layer and RMS normalisation: each row (the last axis) for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import (
    cube,
    doubles,
    integer,
    is_absent,
    kernel,
    matrix,
    number,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import (
    BLOCK,
    SOME,
    clear,
    flush,
    total_of,
    total_of_squares,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, place, require
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS", "check_parameters", "dense_or_none", "flat"]

f4, f8 = np.float32, np.float64
ZERO, ONE = f4(0.0), f4(1.0)


@kernel
def row_norm_forward(t, chunk, start, stop):
    """Arguments: x, weight, bias, y, (mean, scale) of each row, eps, whether to centre."""
    x, y, saved = matrix(t, 0), matrix(t, 3), matrix(t, 4)
    eps, count = number(t, 5), f4(x.shape[1])
    for r in range(start, stop):
        source, row = x[r], y[r]
        mean = f4(total_of(source) / count) if integer(t, 6) else ZERO
        square = f4(total_of_squares(source, mean) / count)
        scale = ONE / np.sqrt(square + eps)
        saved[r, 0], saved[r, 1] = mean, scale
        for j in range(source.size):
            row[j] = (source[j] - mean) * scale
        if not is_absent(t, 1):
            weight = vector(t, 1)
            for j in range(row.size):
                row[j] *= weight[j]
        if not is_absent(t, 2):
            bias = vector(t, 2)
            for j in range(row.size):
                row[j] += bias[j]


@kernel
def row_norm_backward(t, chunk, start, stop):
    """Arguments: g, x, weight, saved, dx, sums (chunks, 2, D) for dw and db, whether to centre.

    And those sums once more, as float64, where there are many rows.
    """
    g, x, saved, centre = matrix(t, 0), matrix(t, 1), matrix(t, 3), integer(t, 6)
    count, columns = f4(x.shape[1]), x.shape[1]
    if not is_absent(t, 5):
        clear(vector(t, 5)[2 * chunk * columns : 2 * (chunk + 1) * columns])
        if not is_absent(t, 7):
            clear(doubles(t, 7)[2 * chunk * columns : 2 * (chunk + 1) * columns])
    for r in range(start, stop):
        up, source, mean, scale = g[r], x[r], saved[r, 0], saved[r, 1]
        if not is_absent(t, 5):
            if not is_absent(t, 7) and (r - start) % SOME == 0:
                part = slice(2 * chunk * columns, 2 * (chunk + 1) * columns)
                flush(vector(t, 5)[part], doubles(t, 7)[part])
            dw, db = cube(t, 5)[chunk, 0], cube(t, 5)[chunk, 1]
            for j in range(up.size):
                dw[j] += up[j] * ((source[j] - mean) * scale)
                db[j] += up[j]
        if not is_absent(t, 4):
            row = matrix(t, 4)[r]
            if is_absent(t, 2):
                for j in range(row.size):
                    row[j] = up[j]
            else:
                weight = vector(t, 2)
                for j in range(row.size):
                    row[j] = up[j] * weight[j]
            total, product = _sums(row, source, mean)
            total = total / count if centre else ZERO
            product = product * scale / count
            for j in range(row.size):
                row[j] = (row[j] - total - (source[j] - mean) * scale * product) * scale


@njit
def _sums(row, source, mean):
    """Of a row, and of its products with distances from a mean."""
    total, product = f8(0.0), f8(0.0)
    for begin in range(0, row.size, BLOCK):
        up, x = row[begin : begin + BLOCK], source[begin : begin + BLOCK]
        s, p = ZERO, ZERO
        for j in range(up.size):
            s += up[j]
            p += up[j] * (x[j] - mean)
        total += s
        product += p
    return f4(total), f4(product)


@kernel
def add_partial_sums(t, chunk, start, stop):
    """Arguments: sums (chunks, 2, D), dw, db: add up over the chunks; float64 sums, or None."""
    parts = cube(t, 0)
    for which in range(2):
        if not is_absent(t, 1 + which):
            target = vector(t, 1 + which)[start:stop]
            for j in range(target.size):
                total = f8(0.0)
                for part in range(parts.shape[0]):
                    total += parts[part, which, start + j]
                    if not is_absent(t, 3):
                        total += doubles(t, 3)[(2 * part + which) * parts.shape[2] + start + j]
                target[j] = f4(total)


def flat(x: Array) -> tuple[Array, int]:
    """Return (..., D) as (N, D), C-contiguous, and how many chunks that is worth."""
    x = dense(x)
    x = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return x, min(len(x), split(x.size, ELEMENTS)) or 1


def dense_or_none(x: Array | None) -> Array | None:
    """Return a parameter as kernels take it."""
    return None if x is None else dense(x)


def check_parameters(x: Array, *parameters: Array | None) -> None:
    """Refuse parameters of another length than the last axis."""
    for p in parameters:
        require(p is None or p.shape == x.shape[-1:], "a parameter for each value of the last axis")


def _row_forward(
    x: Array, weight: Array | None, bias: Array | None, eps: float, centre: bool
) -> tuple[Array, Array]:
    check_parameters(x, weight, bias)
    y, (rows, chunks) = empty(x.shape), flat(x)
    saved = empty((len(rows), 2))
    if x.size:
        launch(
            row_norm_forward, rows, dense_or_none(weight), dense_or_none(bias),
            y.reshape(rows.shape), saved, float(eps), int(centre), items=len(rows), chunks=chunks,
        )  # fmt: skip
    return y, saved


def _row_backward(
    g: Array, saved: Array, needs: Sequence[Any], x: Array, weight: Array | None, centre: bool
) -> list[Array | None]:
    rows, chunks = flat(x)
    dx = place(needs[0], x.shape)
    learned = [place(need, x.shape[-1:]) for need in needs[1:]]
    dw, db = [*learned, None][:2]
    shape = (chunks, 2, x.shape[-1])
    sums = empty(shape) if dw is not None or db is not None else None
    totals = None if sums is None or len(rows) <= SOME else empty(shape, np.float64)
    launch(
        row_norm_backward, flat(g)[0], rows, dense_or_none(weight), saved,
        None if dx is None else dx.reshape(rows.shape), sums, int(centre), totals,
        items=len(rows), chunks=chunks,
    )  # fmt: skip
    if sums is not None:
        launch(add_partial_sums, _used(sums, len(rows)), dw, db, totals, items=x.shape[-1])
    return [dx, *learned]


def _used(parts: Array, items: int) -> Array:
    """Those parts that a chunk of items has written: the last chunks may have got none."""
    return parts[: -(-items // -(-items // len(parts)))] if items else parts[:0]


def _layer_norm(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, Array]:
    return _row_forward(x, weight, bias, eps, True)


def _layer_norm_backward(
    g: Array, saved: Array, needs: Sequence[Any], x: Array, weight: Any, bias: Any, *, eps: float
) -> list[Array | None]:
    return _row_backward(g, saved, needs, x, weight, True)


def _rms_norm(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Array]:
    return _row_forward(x, weight, None, eps, False)


def _rms_norm_backward(
    g: Array, saved: Array, needs: Sequence[Any], x: Array, weight: Any, *, eps: float
) -> list[Array | None]:
    return _row_backward(g, saved, needs, x, weight, False)


KERNELS: dict[str, KernelPair] = {
    "layer_norm": KernelPair(_layer_norm, _layer_norm_backward),
    "rms_norm": KernelPair(_rms_norm, _rms_norm_backward),
}
