"""Softmax, log-softmax, and the cross-entropies.

Short rows (ten classes) are first shifted by their maxima, and then exponentiated together as one
vector, to fill SIMD registers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import IGNORED, GradsOut, KernelPair, PrimitiveKernel
from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import (
    CpuKernel,
    Integers,
    Matrix,
    Nullable,
    Vector,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import (
    total_and_log,
    total_of,
    total_of_products,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.host import (
    ELEMENTS,
    grad_memory,
    is_float32,
    long_integers,
    require,
)
from nnlib_backends.numpy_backend.kernels.activation import each
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS", "PRIMITIVES"]

f4, i4 = np.float32, np.int32
ZERO, ONE = f4(0.0), f4(1.0)
LOWEST = i4(-(2**31))
BLOCK = 2048  # numbers exponentiated at a time


@njit
def largest(row):
    """Maximum of a row, compared as integers, which LLVM vectorises; NaN comes from later steps."""
    best = LOWEST
    for j in range(row.size):
        best = max(best, fn.bits_of(row[j]))
    return fn.float_of(best)


@njit
def shift(x, y, top, stop):
    """``y = x - max(x)``, row by row, for some rows."""
    for r in range(top, stop):
        source, row = x[r], y[r]
        peak = largest(source)
        for j in range(row.size):
            row[j] = source[j] - peak


@njit
def exponentiate(x):
    """``x = exp(x)`` for x ≤ 0, in place: LLVM does not vectorise ``f(x, y)`` with y = x."""
    for i in range(x.size):
        x[i] = fn.exp_of_negative(x[i])


@njit
def exponentiate_into(x, y):
    for i in range(x.size):
        y[i] = fn.exp_of_negative(x[i])


@njit
def flat_rows(x, top, end):
    """Some rows of a matrix as one vector."""
    return view(x, top * x.shape[1], (end - top) * x.shape[1])


@njit
def rows_in_block(columns):
    return max(1, BLOCK // max(columns, 1))


@kernel
def softmax_forward(chunk, start, stop, x: Matrix, y: Matrix):
    """Rows ``start … stop`` of ``y = softmax(x)``, (N, C)."""
    step = rows_in_block(x.shape[1])
    for top in range(start, stop, step):
        end = min(top + step, stop)
        shift(x, y, top, end)
        exponentiate(flat_rows(y, top, end))
        for r in range(top, end):
            row = y[r]
            scale = f4(1.0 / total_of(row))
            for j in range(row.size):
                row[j] *= scale


@kernel
def softmax_backward(chunk, start, stop, g: Matrix, y: Matrix, dx: Matrix):
    """Rows ``start … stop`` of the gradient, (N, C), from the result y."""
    for r in range(start, stop):
        up, share, row = g[r], y[r], dx[r]
        total = f4(total_of_products(up, share))
        for j in range(row.size):
            row[j] = share[j] * (up[j] - total)


@kernel
def log_softmax_forward(chunk, start, stop, x: Matrix, y: Matrix, work: Matrix):
    """Rows ``start … stop`` of ``y = log(softmax(x))``, (N, C); the workspace: a row a chunk."""
    block, columns = work[chunk], x.shape[1]
    step = rows_in_block(columns)
    for top in range(start, stop, step):
        end = min(top + step, stop)
        shift(x, y, top, end)
        exponentiate_into(flat_rows(y, top, end), block[: (end - top) * columns])
        for r in range(top, end):
            row = y[r]
            part = block[(r - top) * columns : (r - top + 1) * columns]
            _, log_total = total_and_log(part)
            for j in range(row.size):
                row[j] -= log_total


@kernel
def log_softmax_backward(chunk, start, stop, g: Matrix, y: Matrix, dx: Matrix):
    """Rows ``start … stop`` of the gradient, (N, C), from the result y."""
    step = rows_in_block(y.shape[1])
    for top in range(start, stop, step):
        end = min(top + step, stop)
        exponentiate_into(flat_rows(y, top, end), flat_rows(dx, top, end))
        for r in range(top, end):
            source, row = g[r], dx[r]
            total = f4(total_of(source))
            for j in range(row.size):
                row[j] = source[j] - row[j] * total


@kernel
def softmax_cross_entropy_forward(
    chunk, start, stop, x: Matrix, labels: Integers, losses: Vector, saved: Matrix, work: Matrix
):
    """Rows ``start … stop`` of the logits (N, C); saved are maximum and 1 / sum of each, (N, 2)."""
    block, columns = work[chunk], x.shape[1]
    step = rows_in_block(columns)
    for top in range(start, stop, step):
        end = min(top + step, stop)
        for r in range(top, end):
            source, row = x[r], block[(r - top) * columns : (r - top + 1) * columns]
            peak = largest(source)
            saved[r, 0] = peak
            for j in range(row.size):
                row[j] = source[j] - peak
        part = block[: (end - top) * columns]
        exponentiate(part)
        for r in range(top, end):
            row = block[(r - top) * columns : (r - top + 1) * columns]
            label = min(max(labels[r], 0), columns - 1)  # labels out of range are refused elsewhere
            total, log_total = total_and_log(row)
            saved[r, 1] = f4(1.0 / total)
            # not max + log(total) - logit, which loses digits where logits are large
            losses[r] = fn.less(log_total, fn.less(x[r, label], saved[r, 0]))
            if labels[r] == IGNORED:
                losses[r] = ZERO


@kernel
def softmax_cross_entropy_backward(
    chunk, start, stop, g: Vector, x: Matrix, labels: Integers, saved: Matrix, dx: Matrix
):
    """Rows ``start … stop`` of the gradient by the logits, (N, C)."""
    columns = x.shape[1]
    step = rows_in_block(columns)
    for top in range(start, stop, step):
        end = min(top + step, stop)
        for r in range(top, end):
            source, row, peak = x[r], dx[r], saved[r, 0]
            for j in range(row.size):
                row[j] = source[j] - peak
        exponentiate(flat_rows(dx, top, end))
        for r in range(top, end):
            row, scale = dx[r], saved[r, 1] * g[r]
            if labels[r] == IGNORED:
                for j in range(row.size):
                    row[j] = ZERO
                continue
            for j in range(row.size):
                row[j] *= scale
            row[min(max(labels[r], 0), columns - 1)] -= g[r]


@kernel
def sigmoid_cross_entropy_forward(chunk, start, stop, x: Vector, targets: Vector, y: Vector):
    """Losses y of logits x, arrays of one size."""
    x, share, y = x[start:stop], targets[start:stop], y[start:stop]
    for i in range(x.size):
        v = x[i]
        y[i] = fn.select(v <= ZERO, ZERO, v) - v * share[i] + fn.log1p(fn.exp_of_negative(-abs(v)))


@kernel
def sigmoid_cross_entropy_backward(
    chunk, start, stop, g: Vector, x: Vector, targets: Vector, dx: Nullable[Vector],
    dt: Nullable[Vector],
):  # fmt: skip
    """Gradients by the logits x and by the targets, arrays of one size."""
    g, x, share = g[start:stop], x[start:stop], targets[start:stop]
    if is_given(dx):
        dx = dx[start:stop]
        for i in range(x.size):
            dx[i] = g[i] * (fn.sigmoid(x[i]) - share[i])
    if is_given(dt):
        dt = dt[start:stop]
        for i in range(x.size):
            dt[i] = -g[i] * x[i]


def _chunks(rows: int, columns: int) -> int:
    return min(rows, split(rows * columns, ELEMENTS)) or 1


def _workspace(rows: int, columns: int) -> Array:
    """Allocate a block for each chunk."""
    return empty((_chunks(rows, columns), max(BLOCK, columns)))


def _by_rows(kernel: CpuKernel, *args: Any, shape: tuple[int, ...], work: bool = False) -> None:
    """Launch a kernel on the last axis of arrays of one shape."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    if rows * columns == 0:
        return
    matrices = [x.reshape(rows, columns) for x in args]
    if work:
        matrices.append(_workspace(rows, columns))
    launch(kernel, *matrices, items=rows, chunks=_chunks(rows, columns))


def _last_axis(forwards: CpuKernel, backwards: CpuKernel, work: bool) -> PrimitiveKernel:
    """Return the kernels of a primitive along the last axis; NumPy computes other axes."""

    def forward(x: Any, *, axis: Any = -1) -> Any:
        if not is_float32(x) or x.ndim == 0 or axis not in (-1, x.ndim - 1):
            return NotImplemented
        y = empty(x.shape)
        _by_rows(forwards, dense(x), y, shape=x.shape, work=work)
        return y

    def rule(g: Any, y: Any, axis: Any) -> Any:
        if not is_float32(g, y) or y.ndim == 0 or axis not in (-1, y.ndim - 1):
            return NotImplemented
        dx = empty(y.shape)
        _by_rows(backwards, dense(g), dense(y), dx, shape=y.shape)
        return dx

    return PrimitiveKernel(forward, {"x": rule})


def _cross_entropy(logits: Array, labels: Array) -> tuple[Array, Any]:
    rows, columns = logits.shape
    losses, saved, labels = empty((rows,)), empty((rows, 2)), long_integers(labels)
    work = _workspace(rows, columns)
    launch(
        softmax_cross_entropy_forward, dense(logits), labels, losses, saved, work,
        items=rows, chunks=len(work),
    )  # fmt: skip
    return losses, saved


def _cross_entropy_backward(
    g: Array, saved: Array, grads_out: GradsOut, logits: Array, labels: Array
) -> tuple[Array | None, None]:
    dx = grad_memory(grads_out[0], logits.shape)
    if dx is not None and dx.size:
        launch(
            softmax_cross_entropy_backward, dense(g), dense(logits), long_integers(labels), saved,
            dx, items=len(logits), chunks=_chunks(*logits.shape),
        )  # fmt: skip
    return dx, None


def _sigmoid(x: Array, targets: Array) -> tuple[Array, None]:
    require(targets.shape == x.shape, "one target for each logit")
    y = empty(x.shape)
    return each(sigmoid_cross_entropy_forward, dense(x), dense(targets), y, out=y), None


def _sigmoid_backward(
    g: Array, saved: None, grads_out: GradsOut, x: Array, targets: Array
) -> tuple[Array | None, Array | None]:
    dx, dt = grad_memory(grads_out[0], x.shape), grad_memory(grads_out[1], x.shape)
    g = dense(g)
    each(sigmoid_cross_entropy_backward, g, dense(x), dense(targets), dx, dt, out=g)
    return dx, dt


KERNELS: dict[str, KernelPair] = {
    "softmax_cross_entropy": KernelPair(_cross_entropy, _cross_entropy_backward, writes=True),
    "sigmoid_cross_entropy": KernelPair(_sigmoid, _sigmoid_backward, writes=True),
}

PRIMITIVES: dict[str, PrimitiveKernel] = {
    "softmax": _last_axis(softmax_forward, softmax_backward, work=False),
    "log_softmax": _last_axis(log_softmax_forward, log_softmax_backward, work=True),
}
