"""Layer, RMS and batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.contract import Kernel
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split
from nnlib_backends.numpy_backend.native.abi import (
    cube,
    integer,
    is_absent,
    kernel,
    matrix,
    number,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.native.host import ELEMENTS, place, require

__all__ = ["KERNELS"]

f4 = np.float32
ZERO, ONE = f4(0.0), f4(1.0)
LINE = 16  # floats in a cache line
BLOCK = 1 << 14  # numbers that stay in the L2 cache between two passes


@njit
def clear(row):
    for j in range(row.size):
        row[j] = ZERO


# Over the last axis ------------------------------------------------------------------------------


@kernel
def row_norm_forward(t, chunk, start, stop):
    """Arguments: x, weight, bias, y, (mean, scale) of each row, eps, whether to centre."""
    x, y, saved = matrix(t, 0), matrix(t, 3), matrix(t, 4)
    eps, count = number(t, 5), f4(x.shape[1])
    for r in range(start, stop):
        source, row = x[r], y[r]
        mean = ZERO
        if integer(t, 6):
            for j in range(source.size):
                mean += source[j]
            mean /= count
        square = ZERO
        for j in range(source.size):
            d = source[j] - mean
            square += d * d
        scale = ONE / np.sqrt(square / count + eps)
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
    """Arguments: g, x, weight, saved, dx, sums (chunks, 2, D) for dw and db, whether to centre."""
    g, x, saved, centre = matrix(t, 0), matrix(t, 1), matrix(t, 3), integer(t, 6)
    count = f4(x.shape[1])
    if not is_absent(t, 5):
        clear(cube(t, 5)[chunk, 0])
        clear(cube(t, 5)[chunk, 1])
    for r in range(start, stop):
        up, source, mean, scale = g[r], x[r], saved[r, 0], saved[r, 1]
        if not is_absent(t, 5):
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
            total, product = ZERO, ZERO
            for j in range(row.size):
                total += row[j]
                product += row[j] * (source[j] - mean)
            total = total / count if centre else ZERO
            product = product * scale / count
            for j in range(row.size):
                row[j] = (row[j] - total - (source[j] - mean) * scale * product) * scale


@kernel
def add_partial_sums(t, chunk, start, stop):
    """Arguments: sums (chunks, 2, D), dw, db: add up over the chunks."""
    parts = cube(t, 0)
    for which in range(2):
        if not is_absent(t, 1 + which):
            target = vector(t, 1 + which)[start:stop]
            clear(target)
            for part in range(parts.shape[0]):
                source = parts[part, which, start:stop]
                for j in range(target.size):
                    target[j] += source[j]


def _flat(x: Array) -> tuple[Array, int]:
    """Return (..., D) as (N, D), C-contiguous, and how many chunks that is worth."""
    x = dense(x)
    x = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return x, min(len(x), split(x.size, ELEMENTS)) or 1


def _dense(x: Array | None) -> Array | None:
    return None if x is None else dense(x)


def _check(x: Array, *parameters: Array | None) -> None:
    for p in parameters:
        require(p is None or p.shape == x.shape[-1:], "a parameter for each value of the last axis")


def _row_forward(
    x: Array, weight: Array | None, bias: Array | None, eps: float, centre: bool
) -> tuple[Array, Array]:
    _check(x, weight, bias)
    y, (rows, chunks) = empty(x.shape), _flat(x)
    saved = empty((len(rows), 2))
    if x.size:
        launch(
            row_norm_forward, rows, _dense(weight), _dense(bias), y.reshape(rows.shape), saved,
            float(eps), int(centre), items=len(rows), chunks=chunks,
        )  # fmt: skip
    return y, saved


def _row_backward(
    g: Array, saved: Array, needs: Sequence[Any], x: Array, weight: Array | None, centre: bool
) -> list[Array | None]:
    rows, chunks = _flat(x)
    dx = place(needs[0], x.shape)
    learned = [place(need, x.shape[-1:]) for need in needs[1:]]
    dw, db = [*learned, None][:2]
    sums = empty((chunks, 2, x.shape[-1])) if dw is not None or db is not None else None
    launch(
        row_norm_backward, _flat(g)[0], rows, _dense(weight), saved,
        None if dx is None else dx.reshape(rows.shape), sums, int(centre),
        items=len(rows), chunks=chunks,
    )  # fmt: skip
    if sums is not None:
        launch(add_partial_sums, _used(sums, len(rows)), dw, db, items=x.shape[-1])
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


# Over all other axes -----------------------------------------------------------------------------


@kernel
def batch_norm_forward(t, chunk, start, stop):
    """Arguments: x, weight, bias, y, (mean, scale, workspace, workspace) by channel, eps.

    A thread has some channels.  Mean and sum of squares are those of a block of rows, which is read
    twice while in cache, and then joined with the ones before (Chan, Golub & LeVeque, 1979).
    """
    x, y = matrix(t, 0), matrix(t, 3)
    first, last = min(start * LINE, x.shape[1]), min(stop * LINE, x.shape[1])
    part = slice(first, last)
    mean, square = matrix(t, 4)[0, part], matrix(t, 4)[1, part]
    block, block_square = matrix(t, 4)[2, part], matrix(t, 4)[3, part]
    clear(mean)
    clear(square)
    step = max(1, BLOCK // max(last - first, 1))
    for top in range(0, x.shape[0], step):
        bottom = min(top + step, x.shape[0])
        count, before = f4(bottom - top), f4(top)
        clear(block)
        for r in range(top, bottom):
            row = x[r, part]
            for j in range(row.size):
                block[j] += row[j]
        for j in range(block.size):
            block[j] /= count
        clear(block_square)
        for r in range(top, bottom):
            row = x[r, part]
            for j in range(row.size):
                d = row[j] - block[j]
                block_square[j] += d * d
        share, joint = count / (before + count), before * count / (before + count)
        for j in range(block.size):
            d = block[j] - mean[j]
            mean[j] += d * share
            square[j] += block_square[j] + d * d * joint
    eps, count = number(t, 5), f4(x.shape[0])
    factor, offset = block, block_square  # y = (x - mean) factor + offset
    for j in range(mean.size):
        square[j] = ONE / np.sqrt(square[j] / count + eps)
        factor[j] = square[j]
        offset[j] = ZERO
    if not is_absent(t, 1):
        weight = vector(t, 1)[part]
        for j in range(factor.size):
            factor[j] *= weight[j]
    if not is_absent(t, 2):
        bias = vector(t, 2)[part]
        for j in range(offset.size):
            offset[j] = bias[j]
    for r in range(x.shape[0]):
        row, out = x[r, part], y[r, part]
        for j in range(row.size):
            out[j] = (row[j] - mean[j]) * factor[j] + offset[j]


@kernel
def batch_norm_backward(t, chunk, start, stop):
    """Arguments: g, x, weight, saved, dx, dw, db, workspace."""
    g, x, saved = matrix(t, 0), matrix(t, 1), matrix(t, 3)
    part = slice(min(start * LINE, x.shape[1]), min(stop * LINE, x.shape[1]))
    mean, scale = saved[0, part], saved[1, part]
    product, total = vector(t, 5)[part], vector(t, 6)[part]
    clear(product)
    clear(total)
    for r in range(x.shape[0]):
        up, row = g[r, part], x[r, part]
        for j in range(row.size):
            product[j] += up[j] * (row[j] - mean[j])
            total[j] += up[j]
    for j in range(product.size):
        product[j] *= scale[j]
    if is_absent(t, 4):
        return
    count = f4(x.shape[0])
    factor = vector(t, 7)[part]
    for j in range(factor.size):
        factor[j] = scale[j]
    if not is_absent(t, 2):
        weight = vector(t, 2)[part]
        for j in range(factor.size):
            factor[j] *= weight[j]
    for r in range(x.shape[0]):
        up, row, out = g[r, part], x[r, part], matrix(t, 4)[r, part]
        for j in range(row.size):
            normal = (row[j] - mean[j]) * scale[j]
            out[j] = (up[j] - total[j] / count - normal * (product[j] / count)) * factor[j]


def _batch_norm(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, Array]:
    _check(x, weight, bias)
    y, rows = empty(x.shape), _flat(x)[0]
    saved = empty((4, x.shape[-1]))
    lines = -(-x.shape[-1] // LINE)
    launch(
        batch_norm_forward, rows, _dense(weight), _dense(bias), y.reshape(rows.shape), saved,
        float(eps), items=lines, chunks=min(lines, split(x.size, ELEMENTS)),
    )  # fmt: skip
    return y, saved


def _batch_norm_backward(
    g: Array, saved: Array, needs: Sequence[Any], x: Array, weight: Any, bias: Any, *, eps: float
) -> list[Array | None]:
    rows, lines = _flat(x)[0], -(-x.shape[-1] // LINE)
    dx = place(needs[0], x.shape)
    # dx takes both sums, so they are computed in any case
    sums = [place(True if need is False else need, x.shape[-1:]) for need in needs[1:3]]
    launch(
        batch_norm_backward, _flat(g)[0], rows, _dense(weight), saved,
        None if dx is None else dx.reshape(rows.shape), *sums, empty(x.shape[-1:]),
        items=lines, chunks=min(lines, split(x.size, ELEMENTS)),
    )  # fmt: skip
    return [dx, *sums]


KERNELS: dict[str, Kernel] = {
    "layer_norm": Kernel(_layer_norm, _layer_norm_backward),
    "rms_norm": Kernel(_rms_norm, _rms_norm_backward),
    "batch_norm": Kernel(_batch_norm, _batch_norm_backward),
}
