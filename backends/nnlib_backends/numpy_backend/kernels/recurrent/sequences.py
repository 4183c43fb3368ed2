"""What the recurrent kernels share: weights in the right order, states, and the weights' gradients.

A forward or backward pass through all time steps is one launch: each thread takes some sequences of
the batch through them, so threads never wait for each other, and the recurrent weights stay in
their caches.  Sequences are taken `GROUP` at a time, the rows of a tile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    at,
    doubles,
    gemm,
    integer,
    integers,
    is_absent,
    kernel,
    matrix,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, clear, sum_rows
from nnlib_backends.numpy_backend.codegen.gemm_tile import GROUP, LANES
from nnlib_backends.numpy_backend.codegen.host import long_integers, place
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = [
    "add", "add_product", "before", "chunks_for", "copy", "finish", "groups_of", "initial",
    "lengths_of", "optional", "packed", "present", "projected", "row", "weight_gradients",
]  # fmt: skip

WORK = 1 << 16  #: multiplications worth a second thread


# Inside kernels ----------------------------------------------------------------------------------


@njit
def row(base, index, size):
    """Row ``index`` of the rows of one size that start at an address."""
    return at(base + 4 * index * size, size)


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
    """Copy row b of the initial states at an address, 0 if there are none."""
    if source == 0:
        clear(to)
    else:
        copy(row(source, b, to.size), to)


@njit
def before(states, source, b, now, T, reverse, to):
    """Copy the state of sequence b before a step, from the states of all steps at an address."""
    other = now + 1 if reverse else now - 1
    if other < 0 or other >= T:
        initial(source, b, to)
    else:
        copy(row(states, b * T + other, to.size), to)


@njit
def finish(result, b, x, y):
    """Row b of the gradient by an initial state at an address, if wanted: ``x + y``."""
    if result != 0:
        to = row(result, b, x.size)
        for i in range(to.size):
            to[i] = x[i] + y[i]


@njit
def present(t, k, b, step):
    """Whether sequence b has this step; argument ``k`` is the lengths."""
    return is_absent(t, k) or step < integers(t, k)[b]


@njit
def projected(blas, x, w, gates, first, last, T, D, G):
    """``gates = x wᵀ`` for all steps of some sequences, at addresses."""
    gemm(
        blas, False, True, (last - first) * T, G, D, x + 4 * first * T * D, D, w, D,
        0.0, gates + 4 * first * T * G, G,
    )  # fmt: skip


@kernel
def recurrent_pack(t, chunk, start, stop):
    """Arguments: weight (G, H), copy, whether to transpose it.  The copy has padding of 0."""
    w, copy = matrix(t, 0), matrix(t, 1)
    for i in range(start, stop):
        to = copy[i]
        clear(to)
        if integer(t, 2):
            for j in range(w.shape[0]):
                to[j] = w[j, i]
        else:
            source = w[i]
            for j in range(source.size):
                to[j] = source[j]


@kernel
def recurrent_within(t, chunk, start, stop):
    """Arguments: x (B · T, D), lengths, copy: zeros outside the lengths, whatever is there."""
    x, lengths, copied = matrix(t, 0), integers(t, 1), matrix(t, 2)
    T = x.shape[0] // max(1, lengths.size)
    for n in range(start, stop):
        if n % T < lengths[n // T]:
            copy(x[n], copied[n])
        else:
            clear(copied[n])


@kernel
def recurrent_weights(t, chunk, start, stop):
    """Arguments: slopes by W x, slopes by R h, x, h before, dW, dR, db, dd, dx, W, BLAS, pieces.

    And a workspace for sums over many rows.
    A piece has its own rows of dW, dR, db and dd, and its own rows of dx.
    """
    pieces = integer(t, 11)
    rows, G = matrix(t, 0).shape
    first, last = _bound(G, start, pieces), _bound(G, stop, pieces)
    if first < last:
        _outer(t, 0, 2, 4, first, last)
        _outer(t, 1, 3, 5, first, last)
        _bias(t, 0, 6, first, last)
        if address(t, 0) == address(t, 1) and address(t, 6) != 0 and address(t, 7) != 0:
            part = last - first  # the same sums once more
            copy(at(address(t, 6) + 4 * first, part), at(address(t, 7) + 4 * first, part))
        else:
            _bias(t, 1, 7, first, last)
    first, last, D = _bound(rows, start, pieces), _bound(rows, stop, pieces), matrix(t, 2).shape[1]
    if not is_absent(t, 8) and first < last:
        gemm(
            integer(t, 10), False, False, last - first, D, G,
            address(t, 0) + 4 * first * G, G, address(t, 9), D,
            0.0, address(t, 8) + 4 * first * D, D,
        )  # fmt: skip


@njit
def _bound(n, piece, pieces):
    """Where a piece of n items begins, at a whole cache line."""
    return min(n, (n + 15) // 16 * piece // pieces * 16)


@njit
def _outer(t, slopes, inputs, result, first, last):
    """Some rows of a weight's gradient."""
    d, x = matrix(t, slopes), matrix(t, inputs)
    if not is_absent(t, result):
        gemm(
            integer(t, 10), True, False, last - first, x.shape[1], x.shape[0],
            address(t, slopes) + 4 * first, d.shape[1], address(t, inputs), x.shape[1],
            0.0, address(t, result) + 4 * first * x.shape[1], x.shape[1],
        )  # fmt: skip


@njit
def _bias(t, slopes, result, first, last):
    """Some numbers of a bias's gradient."""
    rows, G = matrix(t, slopes).shape
    if not is_absent(t, result):
        total, totals = vector(t, result)[first:last], doubles(t, 12)[first:last]
        sum_rows(vector(t, slopes)[first:], G, rows, total, totals)


# On the host -------------------------------------------------------------------------------------


def groups_of(batch: int) -> int:
    """How many groups of sequences there are."""
    return -(-batch // GROUP)


def chunks_for(batch: int, work: int) -> int:
    """Into how many chunks to divide the groups, for ``work`` multiplications a sequence."""
    return split(groups_of(batch), max(1, -(-WORK // max(1, work * GROUP))))


def packed(weight: Array, transpose: bool) -> Array:
    """Return weights (G, H) as tiles read them: as they are or transposed, with padded rows."""
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
    """Return arrays as kernels take them, absent ones as they are."""
    return [array if array is None else dense(array) for array in arrays]


def lengths_of(lengths: Array | None) -> Array | None:
    """Return lengths as kernels read them."""
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
    needs: Sequence[Any], from_x: Array, from_h: Array, x: Array, old_h: Array, weight: Array,
    size: int, lengths: Array | None,
) -> list[Array | None]:  # fmt: skip
    """Gradients by x, weight_ih, weight_hh, bias_ih, bias_hh from those by ``W x`` and ``R h``."""
    G, D = weight.shape
    shapes = (x.shape, (G, D), (G, size), (G,), (G,))
    dx, dw, dr, db, dd = (place(n, shape) for n, shape in zip(needs, shapes, strict=False))
    rows = math.prod(x.shape[:-1])
    pieces = split(rows * G * (D + size), 1 << 17)
    totals = empty((G,), np.float64) if rows > SOME else None
    launch(
        recurrent_weights, _rows(from_x), _rows(from_h), _within(x, lengths), _rows(old_h), dw, dr,
        db, dd, dx, dense(weight), sgemm_address(), pieces, totals, items=pieces, chunks=pieces,
    )  # fmt: skip
    return [dx, dw, dr, db, dd]
