"""Sums over threads: each thread writes a partial sum, and another launch adds them up."""

from __future__ import annotations

import numpy as np

from nnlib_backends.numpy_backend.codegen.arguments import (
    Doubles,
    Matrix,
    Nullable,
    Vector,
    kernel,
    view,
)
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, add_rows, clear, flush
from nnlib_backends.numpy_backend.kernels.activation import CODES, derive
from nnlib_backends.numpy_backend.kernels.reduction import add_pieces
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["parts_of", "sum_parts", "through_activation"]

WIDE = 64  # numbers of a row, at least: shorter ones are joined
ELEMENTS = 1 << 14  # numbers of a chunk, at least


@kernel
def add_parts(chunk, start, stop, parts: Nullable[Vector], total: Vector, count: int):
    """Numbers ``start … stop`` of the sum of ``count`` parts, each as large as the total."""
    some = total[start:stop]
    clear(some)
    for part in range(count):
        row = parts[part * total.size + start : part * total.size + stop]
        for i in range(some.size):
            some[i] += row[i]


@kernel
def derive_and_sum(
    chunk, start, stop, g: Matrix, y: Nullable[Vector], out: Nullable[Vector], code: int,
    totals: Doubles, work: Matrix,
):  # fmt: skip
    """Rows ``start … stop`` of g (N, C) times the activation's derivative, and their sum (C).

    Each chunk has a sum, in float64, and a row of the workspace.
    """
    channels, some = g.shape[1], work[chunk]
    sums = totals[chunk * channels : (chunk + 1) * channels]
    clear(sums)
    clear(some)
    rows = view(g, 0, g.size)
    slopes = out if code else rows
    for first in range(start, stop, SOME):
        last = min(first + SOME, stop)
        if code:
            part = slice(first * channels, last * channels)
            derive(rows[part], y[part], out[part], code)
        add_rows(slopes, channels, first, last, some)
        flush(some, sums)


def parts_of(items: int, least: int) -> int:
    """Return a number of chunks like `split`, none of which is empty.

    An empty chunk would not write its partial sum.

    Examples
    --------
    >>> parts_of(0, 1)
    1
    """
    each = -(-items // split(items, least))
    return -(-items // each) if items else 1


def sum_parts(parts: Array, count: int, total: Array) -> None:
    """Write the sum of ``count`` parts, each as large as ``total``."""
    if parts.dtype == np.float64:
        launch(add_pieces, parts, total, 1, count, total.size, items=total.size)
    else:
        chunks = split(total.size, ELEMENTS)
        launch(add_parts, parts, total, count, items=total.size, chunks=chunks)


def through_activation(
    g: Array, y: Array | None, activation: str | None, db: Array | None
) -> Array:
    """Return the gradient by the activation's argument, and write the gradient by the bias.

    Parameters
    ----------
    g : (…, O)
        Gradient by the result.
    y : (…, O)
        The result.
    activation : str or None
    db : (O,), optional
        Target of the sum over all axes but the last.
    """
    code = CODES[activation]
    if not code and db is None:
        return g
    pixels, joined = g.size // g.shape[-1], 1
    while joined * g.shape[-1] < WIDE and pixels % (2 * joined) == 0:
        joined *= 2  # short rows would not fill a vector
    rows, channels = pixels // joined, joined * g.shape[-1]
    chunks = parts_of(rows, ELEMENTS // channels)
    out = empty(g.shape) if code else None
    sums = empty((chunks, channels), np.float64)
    launch(
        derive_and_sum, g.reshape(rows, channels), y, out, code, sums, empty((chunks, channels)),
        items=rows, chunks=chunks,
    )  # fmt: skip
    if db is not None:
        sum_parts(sums, chunks * joined, db)
    return g if out is None else out
