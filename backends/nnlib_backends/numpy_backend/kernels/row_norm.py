"""Layer and RMS normalisation of each row (the last axis)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Doubles,
    Matrix,
    Nullable,
    Vector,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import (
    BLOCK,
    SOME,
    clear,
    flush,
    total_of,
    total_of_squares,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, grad_memory, require
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS", "check_parameters", "dense_or_none", "flat"]

f4, f8 = np.float32, np.float64
ZERO, ONE = f4(0.0), f4(1.0)


@kernel
def row_norm_forward(
    chunk, start, stop, x: Matrix, weight: Nullable[Vector], bias: Nullable[Vector], y: Matrix,
    saved: Matrix, eps: float, centre: int,
):  # fmt: skip
    """Rows ``start … stop`` of x (N, D); saved are their mean and scale, (N, 2)."""
    count = f4(x.shape[1])
    for r in range(start, stop):
        source, row = x[r], y[r]
        mean = f4(total_of(source) / count) if centre else ZERO
        square = f4(total_of_squares(source, mean) / count)
        scale = ONE / np.sqrt(square + eps)
        saved[r, 0], saved[r, 1] = mean, scale
        for j in range(source.size):
            row[j] = (source[j] - mean) * scale
        if is_given(weight):
            for j in range(row.size):
                row[j] *= weight[j]
        if is_given(bias):
            for j in range(row.size):
                row[j] += bias[j]


@kernel
def row_norm_backward(
    chunk, start, stop, g: Matrix, x: Matrix, weight: Nullable[Vector], saved: Matrix,
    dx: Nullable[Matrix], sums: Nullable[Cube], centre: int, totals: Nullable[Doubles],
):  # fmt: skip
    """Rows ``start … stop`` of x (N, D), and their sums for dw and db, (chunks, 2, D).

    The totals are the sums in float64, used for many rows.
    """
    count, columns = f4(x.shape[1]), x.shape[1]
    own = 2 * chunk * columns
    if is_given(sums):
        clear(view(sums, own, 2 * columns))
        if is_given(totals):
            clear(totals[own : own + 2 * columns])
    for r in range(start, stop):
        up, source, mean, scale = g[r], x[r], saved[r, 0], saved[r, 1]
        if is_given(sums):
            if is_given(totals) and (r - start) % SOME == 0:
                flush(view(sums, own, 2 * columns), totals[own : own + 2 * columns])
            dw, db = sums[chunk, 0], sums[chunk, 1]
            for j in range(up.size):
                dw[j] += up[j] * ((source[j] - mean) * scale)
                db[j] += up[j]
        if is_given(dx):
            row = dx[r]
            if not is_given(weight):
                for j in range(row.size):
                    row[j] = up[j]
            else:
                for j in range(row.size):
                    row[j] = up[j] * weight[j]
            total, product = _sums(row, source, mean)
            total = total / count if centre else ZERO
            product = product * scale / count
            for j in range(row.size):
                row[j] = (row[j] - total - (source[j] - mean) * scale * product) * scale


@njit
def _sums(row, source, mean):
    """Return the sum of a row, and of its products with ``source - mean``."""
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
def add_partial_sums(
    chunk, start, stop, sums: Cube, dw: Nullable[Vector], db: Nullable[Vector],
    totals: Nullable[Doubles],
):  # fmt: skip
    """Add up the sums (chunks, 2, D), and those in float64, over the chunks."""
    add_over_chunks(sums, totals, 0, dw, start, stop)
    add_over_chunks(sums, totals, 1, db, start, stop)


@njit
def add_over_chunks(sums, totals, which, out, start, stop):
    """Add up one of the two sums, if ``out`` is given."""
    if is_given(out):
        out = out[start:stop]
        for j in range(out.size):
            total = f8(0.0)
            for part in range(sums.shape[0]):
                total += sums[part, which, start + j]
                if is_given(totals):
                    total += totals[(2 * part + which) * sums.shape[2] + start + j]
            out[j] = f4(total)


def flat(x: Array) -> tuple[Array, int]:
    """Return (..., D) as (N, D), C-contiguous, and the number of chunks."""
    x = dense(x)
    x = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return x, min(len(x), split(x.size, ELEMENTS)) or 1


def dense_or_none(x: Array | None) -> Array | None:
    """Return a parameter C-contiguous; None stays."""
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
    g: Array, saved: Array, grads_out: GradsOut, x: Array, weight: Array | None, centre: bool
) -> list[Array | None]:
    rows, chunks = flat(x)
    dx = grad_memory(grads_out[0], x.shape)
    learned = [grad_memory(out, x.shape[-1:]) for out in grads_out[1:]]
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
    """Return the parts that chunks have written: the last chunks may be empty."""
    return parts[: -(-items // -(-items // len(parts)))] if items else parts[:0]


def _layer_norm(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, Array]:
    return _row_forward(x, weight, bias, eps, True)


def _layer_norm_backward(
    g: Array, saved: Array, grads_out: GradsOut, x: Array, weight: Any, bias: Any, *, eps: float
) -> list[Array | None]:
    return _row_backward(g, saved, grads_out, x, weight, True)


def _rms_norm(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Array]:
    return _row_forward(x, weight, None, eps, False)


def _rms_norm_backward(
    g: Array, saved: Array, grads_out: GradsOut, x: Array, weight: Any, *, eps: float
) -> list[Array | None]:
    return _row_backward(g, saved, grads_out, x, weight, False)


KERNELS: dict[str, KernelPair] = {
    "layer_norm": KernelPair(_layer_norm, _layer_norm_backward, writes=True),
    "rms_norm": KernelPair(_rms_norm, _rms_norm_backward, writes=True),
}
