"""Parts of all recurrent kernels: packed weights, states, and the weights' gradients.

A forward or backward pass through all time steps is one launch: each thread computes some sequences
of the batch, `GROUP` at a time, so threads never wait for each other, and the recurrent weights
stay in their caches.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut
from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Doubles,
    Integers,
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
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, clear, sum_rows
from nnlib_backends.numpy_backend.codegen.gemm import GROUP, multiply
from nnlib_backends.numpy_backend.codegen.host import grad_memory, long_integers
from nnlib_backends.numpy_backend.codegen.simd import LANES
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = [
    "add", "add_product", "before", "by_recurrent", "chunks_for", "copy", "finish", "groups_of",
    "initial", "lengths_of", "optional", "packed", "present", "projected", "row",
    "slopes_by_recurrent", "weight_gradients",
]  # fmt: skip

WORK = 1 << 16  #: multiplications for each thread, at least


# Inside kernels ----------------------------------------------------------------------------------


@njit
def row(x, index, size):
    """Row ``index`` of an array read as rows of one size."""
    return view(x, index * size, size)


@njit
def copy(x, to):
    """Copy a vector."""
    for i in range(to.size):
        to[i] = x[i]


@njit
def add(x, y):
    """``x += y``."""
    for i in range(x.size):
        x[i] += y[i]


@njit
def add_product(x, y, z):
    """``x += y * z``."""
    for i in range(x.size):
        x[i] += y[i] * z[i]


@njit
def initial(source, b, to):
    """Copy row b of the initial states (B, H), 0 if there are none."""
    if is_given(source):
        copy(source[b], to)
    else:
        clear(to)


@njit
def before(states, source, b, now, reverse, to):
    """Copy the state of sequence b before a step, from the states of all steps (B, T, H)."""
    other = now + 1 if reverse else now - 1
    if other < 0 or other >= states.shape[1]:
        initial(source, b, to)
    else:
        copy(states[b, other], to)


@njit
def finish(result, b, x, y):
    """Write ``x + y`` to row b of the gradient by an initial state (B, H), if given."""
    if is_given(result):
        to = result[b]
        for i in range(to.size):
            to[i] = x[i] + y[i]


@njit
def present(lengths, b, step):
    """Return whether sequence b has this step."""
    return not is_given(lengths) or step < lengths[b]


@njit
def projected(blas, x, w, gates, first, last):
    """``gates = x wᵀ`` for all steps of some sequences: x (B, T, D), w (G, D), gates (B, T, G)."""
    T, (G, D) = x.shape[1], w.shape
    gemm(
        blas, False, True, (last - first) * T, G, D, address(x, first * T * D), D, address(w, 0), D,
        0.0, address(gates, first * T * G), G,
    )  # fmt: skip


@njit
def by_recurrent(tile, x, r, first, last, out):
    """``out = x r`` for rows ``first … last`` of x and out."""
    rows, columns = last - first, r.shape[1]
    multiply(
        tile, rows, columns, x.shape[1], address(x, first * x.shape[1]), x.shape[1], 1,
        address(r, 0), columns, address(out, first * columns), columns, 0,
    )  # fmt: skip


@njit
def slopes_by_recurrent(tile, slopes, now, r, first, last, out):
    """``out = slopes[:, now] r`` for some sequences: slopes (B, T, G), r (G, P), out (B, P)."""
    T, (G, P) = slopes.shape[1], r.shape
    multiply(
        tile, last - first, P, G, address(slopes, (first * T + now) * G), T * G, 1, address(r, 0),
        P, address(out, first * P), P, 0,
    )  # fmt: skip


@kernel
def recurrent_pack(chunk, start, stop, w: Matrix, out: Matrix, transpose: int):
    """Rows ``start … stop`` of the weights w or of their transpose, padded with 0."""
    for i in range(start, stop):
        to = out[i]
        clear(to)
        if transpose:
            for j in range(w.shape[0]):
                to[j] = w[j, i]
        else:
            source = w[i]
            for j in range(source.size):
                to[j] = source[j]


@kernel
def recurrent_within(chunk, start, stop, x: Matrix, lengths: Integers, copied: Matrix):
    """Rows ``start … stop`` of x (B · T, D), with zeros outside the lengths (B)."""
    T = x.shape[0] // max(1, lengths.size)
    for n in range(start, stop):
        if n % T < lengths[n // T]:
            copy(x[n], copied[n])
        else:
            clear(copied[n])


@kernel
def recurrent_weights(
    chunk, start, stop, from_x: Matrix, from_h: Matrix, x: Matrix, old_h: Matrix,
    dw: Nullable[Matrix], dr: Nullable[Matrix], db: Nullable[Vector], dd: Nullable[Vector],
    dx: Nullable[Cube], w: Matrix, blas: int, pieces: int, totals: Nullable[Doubles],
):  # fmt: skip
    """Gradients by W (G, D), R (G, H), both biases (G) and x, from the slopes (B · T, G).

    A piece has its own rows of dW, dR, db, dd and dx.
    The totals are for sums over many rows.
    """
    rows, G = from_x.shape
    first, last = _bound(G, start, pieces), _bound(G, stop, pieces)
    if first < last:
        _outer(blas, from_x, x, dw, first, last)
        _outer(blas, from_h, old_h, dr, first, last)
        _bias(from_x, db, totals, first, last)
        if address(from_x, 0) == address(from_h, 0) and is_given(db) and is_given(dd):
            copy(db[first:last], dd[first:last])  # the same sums
        else:
            _bias(from_h, dd, totals, first, last)
    first, last, D = _bound(rows, start, pieces), _bound(rows, stop, pieces), x.shape[1]
    if is_given(dx) and first < last:
        gemm(
            blas, False, False, last - first, D, G, address(from_x, first * G), G, address(w, 0), D,
            0.0, address(dx, first * D), D,
        )  # fmt: skip


@njit
def _bound(n, piece, pieces):
    """Return the first of a piece's items out of n, a multiple of a cache line."""
    return min(n, (n + 15) // 16 * piece // pieces * 16)


@njit
def _outer(blas, slopes, inputs, result, first, last):
    """Write some rows of a weight's gradient, if given: ``slopesᵀ inputs``."""
    (rows, G), D = slopes.shape, inputs.shape[1]
    if is_given(result):
        gemm(
            blas, True, False, last - first, D, rows, address(slopes, first), G, address(inputs, 0),
            D, 0.0, address(result, first * D), D,
        )  # fmt: skip


@njit
def _bias(slopes, result, totals, first, last):
    """Write some numbers of a bias's gradient, if given."""
    rows, G = slopes.shape
    if is_given(result):
        part = slice(first, last)
        sum_rows(view(slopes, first, rows * G - first), G, rows, result[part], totals[part])


# On the host -------------------------------------------------------------------------------------


def groups_of(batch: int) -> int:
    """Return the number of groups of sequences."""
    return -(-batch // GROUP)


def chunks_for(batch: int, work: int) -> int:
    """Return the number of chunks of groups, for ``work`` multiplications a sequence."""
    return split(groups_of(batch), max(1, -(-WORK // max(1, work * GROUP))))


def packed(weight: Array, transpose: bool) -> Array:
    """Return weights (G, H) with padded rows, transposed or not."""
    weight = dense(weight)
    rows, columns = weight.shape[::-1] if transpose else weight.shape
    padded = -(-columns // LANES) * LANES
    if not transpose and padded == columns:
        return weight
    copy = empty((rows, padded))
    chunks = split(rows, 1 + (1 << 14) // max(1, columns))
    launch(recurrent_pack, weight, copy, int(transpose), items=rows, chunks=chunks)
    return copy


def _rows(x: Array) -> Array:
    """(B, T, D) → (B · T, D)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def optional(*arrays: Array | None) -> list[Array | None]:
    """Return arrays C-contiguous; None stays."""
    return [array if array is None else dense(array) for array in arrays]


def lengths_of(lengths: Array | None) -> Array | None:
    """Return lengths as int64; None stays."""
    return None if lengths is None else long_integers(lengths)


def _within(x: Array, lengths: Array | None) -> Array:
    """Return rows (B · T, D) of x, C-contiguous, with zeros outside the lengths."""
    x = _rows(dense(x))
    if lengths is None:
        return x
    copied = empty(x.shape)
    chunks = split(len(x), 1 + (1 << 14) // max(1, x.shape[1]))
    launch(recurrent_within, x, lengths_of(lengths), copied, items=len(x), chunks=chunks)
    return copied


def weight_gradients(
    grads_out: GradsOut, from_x: Array, from_h: Array, x: Array, old_h: Array, weight: Array,
    size: int, lengths: Array | None,
) -> list[Array | None]:  # fmt: skip
    """Gradients by x, weight_ih, weight_hh, bias_ih, bias_hh from those by ``W x`` and ``R h``."""
    G, D = weight.shape
    shapes = (x.shape, (G, D), (G, size), (G,), (G,))
    outs = zip(grads_out, shapes, strict=False)
    dx, dw, dr, db, dd = (grad_memory(out, shape) for out, shape in outs)
    rows = math.prod(x.shape[:-1])
    pieces = split(rows * G * (D + size), 1 << 17)
    totals = empty((G,), np.float64) if rows > SOME else None
    launch(
        recurrent_weights, _rows(from_x), _rows(from_h), _within(x, lengths), _rows(old_h), dw, dr,
        db, dd, dx, dense(weight), sgemm_address(), pieces, totals, items=pieces, chunks=pieces,
    )  # fmt: skip
    return [dx, dw, dr, db, dd]
