"""Fully connected layers: a GEMM, with bias and activation while the result is in cache.

BLAS computes the GEMM, each thread a part of the result, except for two cases: tiny ones, for which
calling BLAS takes longer than multiplying, and those of a few rows, which are bound by memory: they
read or write the matrix exactly once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nnlib_backends.base import ANYWHERE, GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import (
    Doubles,
    Matrix,
    Nullable,
    Vector,
    address,
    gemm,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address
from nnlib_backends.numpy_backend.codegen.exact_sums import (
    FOUR,
    SOME,
    add_rows,
    clear,
    flush,
    settle,
    sum_rows,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.host import grad_memory
from nnlib_backends.numpy_backend.kernels import activation as activations
from nnlib_backends.numpy_backend.kernels.activation import CODES, activate, derive
from nnlib_backends.numpy_backend.launch import Array, all_dense, empty, launch, split

__all__ = ["KERNELS"]

GELU = activations.KERNELS["gelu"]
ZERO = np.float32(0.0)
LINE = 16  # floats in a cache line, which two threads should not write
TINY = 2048  # multiplications below which BLAS is slower than a loop
FEW = 4  # rows up to which a GEMM is bound by memory
STRETCH = 2048  # columns at a time of such a GEMM: FEW rows of them fit the L1 cache
WORK = 1 << 19  # multiplications for each thread, at least; measured for widths 48 to 256


@njit
def bound(n, piece, pieces):
    """Return the first of a piece's items out of n, a multiple of a cache line."""
    return min(n, (n + LINE - 1) // LINE * piece // pieces * LINE)


@njit
def few_rows_by_transposed(x, w, y, first, last):
    """``y[:, first:last] = x w[first:last]ᵀ`` for 1 to 4 rows of x."""
    k, m = x.shape[1], x.shape[0]
    for begin in range(0, k, STRETCH):
        part = slice(begin, min(begin + STRETCH, k))
        x0, x1 = x[0, part], x[min(1, m - 1), part]
        x2, x3 = x[min(2, m - 1), part], x[m - 1, part]
        for j in range(first, last):
            row = w[j, part]
            s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
            if m == 1:
                for i in range(row.size):
                    s0 += x0[i] * row[i]
            else:
                for i in range(row.size):
                    v = row[i]
                    s0 += x0[i] * v
                    s1 += x1[i] * v
                    s2 += x2[i] * v
                    s3 += x3[i] * v
            for r in range(m):
                s = s0 if r == 0 else s3 if r == m - 1 else s1 if r == 1 else s2
                y[r, j] = s if begin == 0 else y[r, j] + s


@njit
def few_rows_by_matrix(d, w, dx, first, last):
    """``dx[:, first:last] = d w[:, first:last]``, four rows of w at a time."""
    n = w.shape[0]
    for begin in range(first, last, STRETCH):
        part = slice(begin, min(begin + STRETCH, last))
        for r in range(d.shape[0]):
            clear(dx[r, part])
        for j in range(0, n - 3, 4):
            w0, w1, w2, w3 = w[j, part], w[j + 1, part], w[j + 2, part], w[j + 3, part]
            for r in range(d.shape[0]):
                row = dx[r, part]
                d0, d1, d2, d3 = d[r, j], d[r, j + 1], d[r, j + 2], d[r, j + 3]
                for i in range(row.size):
                    row[i] += d0 * w0[i] + d1 * w1[i] + (d2 * w2[i] + d3 * w3[i])
        for j in range(n // 4 * 4, n):
            w0 = w[j, part]
            for r in range(d.shape[0]):
                row, d0 = dx[r, part], d[r, j]
                for i in range(row.size):
                    row[i] += d0 * w0[i]


@njit
def few_rows_outer(d, x, dw, first, last):
    """``dw[first:last] = d[:, first:last]ᵀ x``, a stretch of a row of dw at a time."""
    m, k = x.shape
    for j in range(first, last):
        for begin in range(0, k, STRETCH):
            part = slice(begin, min(begin + STRETCH, k))
            row = dw[j, part]
            clear(row)
            fours = m // 4 * 4
            for r in range(0, fours, 4):
                d0, d1, d2, d3 = d[r, j], d[r + 1, j], d[r + 2, j], d[r + 3, j]
                x0, x1, x2, x3 = x[r, part], x[r + 1, part], x[r + 2, part], x[r + 3, part]
                for i in range(row.size):
                    row[i] += d0 * x0[i] + d1 * x1[i] + (d2 * x2[i] + d3 * x3[i])
            for r in range(fours, m):
                d0, x0 = d[r, j], x[r, part]
                for i in range(row.size):
                    row[i] += d0 * x0[i]


@kernel
def linear_forward(
    chunk, start, stop, x: Matrix, w: Matrix, bias: Nullable[Vector], y: Matrix, blas: int,
    code: int, pieces: int,
):  # fmt: skip
    """``y = activation(x wᵀ + bias)``, x (M, K), w (N, K); pieces, negative: of the rows of y."""
    m, n, k = x.shape[0], w.shape[0], x.shape[1]
    top, bottom, first, last = 0, m, 0, n
    if pieces < 0:
        top, bottom = bound(m, start, -pieces), bound(m, stop, -pieces)
    else:
        first, last = bound(n, start, pieces), bound(n, stop, pieces)
    if m * n * k < TINY:
        for r in range(top, bottom):
            for j in range(first, last):
                s = ZERO
                for i in range(k):
                    s += x[r, i] * w[j, i]
                y[r, j] = s
    elif m <= FEW:
        few_rows_by_transposed(x, w, y, first, last)
    elif top < bottom and first < last:
        gemm(
            blas, False, True, bottom - top, last - first, k, address(x, k * top), k,
            address(w, k * first), k, 0.0, address(y, n * top + first), n,
        )  # fmt: skip
    for r in range(top, bottom):
        row = y[r, first:last]
        if is_given(bias):
            offset = bias[first:last]
            for j in range(row.size):
                row[j] += offset[j]
        activate(row, code)


DELTAS, PRODUCTS = 1, 2  # parts of the backward pass, which a launch computes


@kernel
def linear_backward(
    chunk, start, stop, g: Matrix, y: Nullable[Matrix], d: Matrix, db: Nullable[Vector], x: Matrix,
    w: Matrix, dx: Nullable[Matrix], dw: Nullable[Matrix], blas: int, code: int, what: int,
    pieces: int, totals: Nullable[Doubles],
):  # fmt: skip
    """Slopes d (M, N), and gradients by bias (N), x (M, K) and w (N, K), in one step or two.

    Where there is no activation d is g.  Each piece has its own columns of d and db, of dx, and
    its own rows of dw (or its own rows of dx and columns of dw, where these are more).
    """
    (m, k), n = x.shape, w.shape[0]
    if what & DELTAS:
        deltas(g, y, d, db, totals, code, bound(n, start, pieces), bound(n, stop, pieces))
    if what & PRODUCTS == 0:
        return
    by_loops = m <= FEW or m * n * k < TINY
    if is_given(dw):
        if by_loops:
            few_rows_outer(d, x, dw, bound(n, start, pieces), bound(n, stop, pieces))
        else:
            top, bottom, first, last = part_of(n, k, start, stop, pieces)
            if top < bottom and first < last:
                gemm(
                    blas, True, False, bottom - top, last - first, m, address(d, top), n,
                    address(x, first), k, 0.0, address(dw, k * top + first), k,
                )  # fmt: skip
    if is_given(dx):
        if by_loops:
            few_rows_by_matrix(d, w, dx, bound(k, start, pieces), bound(k, stop, pieces))
        else:
            top, bottom, first, last = part_of(m, k, start, stop, pieces)
            if top < bottom and first < last:
                gemm(
                    blas, False, False, bottom - top, last - first, n, address(d, n * top), n,
                    address(w, first), k, 0.0, address(dx, k * top + first), k,
                )  # fmt: skip


@njit
def part_of(rows, columns, start, stop, pieces):
    """Return the rows and columns of some pieces of a matrix, divided along the longer axis."""
    if rows >= columns:
        return bound(rows, start, pieces), bound(rows, stop, pieces), 0, columns
    return 0, rows, bound(columns, start, pieces), bound(columns, stop, pieces)


@njit
def deltas(g, y, d, db, totals, code, first, last):
    """``d = g · activation'`` and its sum over the rows, for some columns."""
    (m, n), summed, part = d.shape, is_given(db), slice(first, last)
    total, sums, rows = db[part], totals[part], view(d, first, m * n - first)
    if not code:
        if summed:
            sum_rows(rows, n, m, total, sums)
        return
    clear(total)
    clear(sums)
    for top in range(0, m, FOUR):
        end = min(top + FOUR, m)
        for r in range(top, end):
            derive(g[r, part], y[r, part], d[r, part], code)
        if summed:
            if top > 0 and top % SOME == 0:
                flush(total, sums)
            add_rows(rows, n, top, end, total)
    if summed and m > SOME:
        settle(total, sums)


def _forward(
    x: Array, weight: Array, bias: Array | None, *, activation: str | None = None
) -> tuple[Array, Array | None]:
    if activation == "gelu_tanh":  # whose derivative depends on z
        z, _ = _forward(x, weight, bias)
        return GELU.forward(z, approximate="tanh")[0], z
    x, weight, bias = all_dense(x, weight, bias)
    n, k = weight.shape
    m = math.prod(x.shape[:-1])
    y = empty((m, n))
    pieces = split(m * n * k, WORK)
    sign = -1 if m > max(n, FEW) else 1
    if y.size:
        launch(
            linear_forward, x.reshape(m, k), weight, bias, y, sgemm_address(), CODES[activation],
            sign * pieces, items=pieces, chunks=pieces,
        )  # fmt: skip
    return y.reshape(*x.shape[:-1], n), None if activation is None else y


def _backward(
    g: Array, y: Array | None, grads_out: GradsOut, x: Array, weight: Array, bias: Array | None,
    *, activation: str | None = None,
) -> tuple[Array | None, ...]:  # fmt: skip
    if activation == "gelu_tanh":
        (g,) = GELU.backward(g, None, [ANYWHERE], y, approximate="tanh")
        y = activation = None
    n, k = weight.shape
    m = math.prod(x.shape[:-1])
    dx, dw = grad_memory(grads_out[0], x.shape), grad_memory(grads_out[1], (n, k))
    db = grad_memory(grads_out[2], (n,))
    x, weight, g = all_dense(x, weight, g)
    x, g = x.reshape(m, k), g.reshape(m, n)
    d = g if activation is None else empty((m, n))
    pieces = split(m * n * k, WORK)
    args = (
        g, y, d, db, x, weight, None if dx is None else dx.reshape(m, k), dw, sgemm_address(),
        CODES[activation],
    )  # fmt: skip
    # in one step if no piece depends on another piece's columns of d
    steps = [DELTAS | PRODUCTS] if pieces == 1 or activation is None else [DELTAS, PRODUCTS]
    totals = empty((n,), np.float64) if m > SOME and db is not None else None
    for step in steps:
        launch(linear_backward, *args, step, pieces, totals, items=pieces, chunks=pieces)
    return dx, dw, db


KERNELS: dict[str, KernelPair] = {"linear": KernelPair(_forward, _backward, writes=True)}
