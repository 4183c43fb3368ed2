"""Batch normalisation of each channel over all other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import ANYWHERE, GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import (
    Doubles,
    Matrix,
    Nullable,
    Vector,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import (
    FOUR,
    SOME,
    add_rows,
    clear,
    flush,
    settle,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, grad_memory
from nnlib_backends.numpy_backend.kernels.row_norm import (
    check_parameters,
    dense_or_none,
    flat,
)  # fmt: skip
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["KERNELS"]

f4, f8 = np.float32, np.float64
ZERO, ONE = f4(0.0), f4(1.0)
LINE = 16  # floats in a cache line
BLOCK, MOST = 1 << 14, 512  # numbers that stay in the L2 cache between two passes, rows at most


@kernel
def batch_norm_forward(
    chunk, start, stop, x: Matrix, weight: Nullable[Vector], bias: Nullable[Vector], y: Matrix,
    saved: Matrix, eps: float, wide: Doubles,
):  # fmt: skip
    """Lines ``start … stop`` of the channels of x (N, C); saved: mean, scale and two more (4, C).

    A thread has some channels.  It reads a block of rows twice while in cache, for mean and sum of
    squares, which are merged with those of earlier blocks in float64 (Chan, Golub & LeVeque, 1979).
    """
    first, last = min(start * LINE, x.shape[1]), min(stop * LINE, x.shape[1])
    part = slice(first, last)
    mean, square, block, block_square = (
        saved[0, part],
        saved[1, part],
        saved[2, part],
        saved[3, part],
    )
    channels, pixels = x.shape[1], view(x, 0, x.size)
    means, squares = wide[part], wide[channels + first : channels + last]
    own = wide[2 * channels + first : 2 * channels + last]  # a block's mean, rounded in `block`
    clear(means)
    clear(squares)
    step = min(max(1, BLOCK // x.shape[1]), MOST)  # independent of the number of threads
    for top in range(0, x.shape[0], step):
        bottom = min(top + step, x.shape[0])
        count, before = f8(bottom - top), f8(top)
        clear(block)
        clear(own)
        for r in range(top, bottom, SOME):
            add_rows(pixels[first:], channels, r, min(r + SOME, bottom), block)
            flush(block, own)
        for j in range(block.size):
            own[j] /= count
            block[j] = f4(own[j])
        clear(block_square)
        _add_squares(x, part, top, bottom, block, block_square)
        share, joint = count / (before + count), before * count / (before + count)
        for j in range(block.size):
            d, e = own[j] - means[j], own[j] - block[j]
            means[j] += d * share
            squares[j] += block_square[j] - count * e * e + d * d * joint
    rows = f8(x.shape[0])
    factor, offset = block, block_square  # y = (x - mean) factor + offset
    for j in range(mean.size):
        mean[j] = f4(means[j])
        square[j] = ONE / np.sqrt(f4(squares[j] / rows) + eps)
        factor[j] = square[j]
        offset[j] = ZERO
    if is_given(weight):
        weight = weight[part]
        for j in range(factor.size):
            factor[j] *= weight[j]
    if is_given(bias):
        bias = bias[part]
        for j in range(offset.size):
            offset[j] = bias[j]
    for r in range(x.shape[0]):
        row, out = x[r, part], y[r, part]
        for j in range(row.size):
            out[j] = (row[j] - mean[j]) * factor[j] + offset[j]


@njit
def _add_squares(x, part, top, bottom, centre, total):
    """Add the squared distances of some rows from a centre to a vector."""
    fours = top + (bottom - top) // FOUR * FOUR
    for r in range(top, fours, FOUR):
        r0, r1, r2, r3 = x[r, part], x[r + 1, part], x[r + 2, part], x[r + 3, part]
        for j in range(total.size):
            d0, d1, d2, d3 = (
                r0[j] - centre[j],
                r1[j] - centre[j],
                r2[j] - centre[j],
                r3[j] - centre[j],
            )
            total[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for r in range(fours, bottom):
        row = x[r, part]
        for j in range(total.size):
            d = row[j] - centre[j]
            total[j] += d * d


@kernel
def batch_norm_backward(
    chunk, start, stop, g: Matrix, x: Matrix, weight: Nullable[Vector], saved: Matrix,
    dx: Nullable[Matrix], dw: Vector, db: Vector, work: Matrix, wide: Doubles,
):  # fmt: skip
    """Lines ``start … stop`` of the channels of x (N, C); workspaces (3, C) and, wide, (2, C)."""
    part = slice(min(start * LINE, x.shape[1]), min(stop * LINE, x.shape[1]))
    mean, scale = saved[0, part], saved[1, part]
    product, total = dw[part], db[part]
    channels = x.shape[1]
    products = wide[part]
    totals = wide[channels + part.start : channels + part.stop]
    clear(product)
    clear(total)
    clear(products)
    clear(totals)
    for top in range(0, x.shape[0], SOME):
        if top > 0:
            flush(product, products)
            flush(total, totals)
        _add_both(g, x, part, top, min(top + SOME, x.shape[0]), mean, product, total)
    if x.shape[0] > SOME:
        settle(product, products)
        settle(total, totals)
    if x.shape[0] > 0:  # without rows the scale is NaN
        for j in range(product.size):
            product[j] *= scale[j]
    if not is_given(dx):
        return
    count = f4(x.shape[0])
    factor, shift, slope = work[0, part], work[1, part], work[2, part]
    for j in range(factor.size):
        factor[j] = scale[j]
        shift[j] = total[j] / count
        slope[j] = scale[j] * (product[j] / count)
    if is_given(weight):
        weight = weight[part]
        for j in range(factor.size):
            factor[j] *= weight[j]
    for r in range(x.shape[0]):
        up, row, out = g[r, part], x[r, part], dx[r, part]
        for j in range(row.size):
            out[j] = (up[j] - shift[j] - (row[j] - mean[j]) * slope[j]) * factor[j]


@njit
def _add_both(g, x, part, top, bottom, mean, product, total):
    """Add rows of g to a sum, and their products with x − mean to another."""
    fours = top + (bottom - top) // FOUR * FOUR
    for r in range(top, fours, FOUR):
        g0, g1, g2, g3 = g[r, part], g[r + 1, part], g[r + 2, part], g[r + 3, part]
        x0, x1, x2, x3 = x[r, part], x[r + 1, part], x[r + 2, part], x[r + 3, part]
        for j in range(total.size):
            m = mean[j]
            left = g0[j] * (x0[j] - m) + g1[j] * (x1[j] - m)
            product[j] += left + (g2[j] * (x2[j] - m) + g3[j] * (x3[j] - m))
            total[j] += (g0[j] + g1[j]) + (g2[j] + g3[j])
    for r in range(fours, bottom):
        up, row = g[r, part], x[r, part]
        for j in range(total.size):
            product[j] += up[j] * (row[j] - mean[j])
            total[j] += up[j]


def _batch_norm(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, Array]:
    check_parameters(x, weight, bias)
    y, rows = empty(x.shape), flat(x)[0]
    saved = empty((4, x.shape[-1]))
    lines = -(-x.shape[-1] // LINE)
    launch(
        batch_norm_forward, rows, dense_or_none(weight), dense_or_none(bias),
        y.reshape(rows.shape), saved, float(eps), empty((3, x.shape[-1]), np.float64),
        items=lines, chunks=min(lines, split(x.size, ELEMENTS)),
    )  # fmt: skip
    return y, saved


def _batch_norm_backward(
    g: Array, saved: Array, grads_out: GradsOut, x: Array, weight: Any, bias: Any, *, eps: float
) -> list[Array | None]:
    rows, lines = flat(x)[0], -(-x.shape[-1] // LINE)
    dx = grad_memory(grads_out[0], x.shape)
    # dx takes both sums, so they are computed in any case
    sums = [grad_memory(out or ANYWHERE, x.shape[-1:]) for out in grads_out[1:3]]
    launch(
        batch_norm_backward, flat(g)[0], rows, dense_or_none(weight), saved,
        None if dx is None else dx.reshape(rows.shape), *sums, empty((3, x.shape[-1])),
        empty((2, x.shape[-1]), np.float64),
        items=lines, chunks=min(lines, split(x.size, ELEMENTS)),
    )  # fmt: skip
    return [dx, *sums]


KERNELS: dict[str, KernelPair] = {
    "batch_norm": KernelPair(_batch_norm, _batch_norm_backward, writes=True)
}
