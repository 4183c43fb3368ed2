"""Rows of a table by index, and their gradient."""

from __future__ import annotations

import numpy as np

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import (
    Doubles,
    Integers,
    Matrix,
    Nullable,
    is_given,
    kernel,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.exact_sums import clear, settle
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, grad_memory, long_integers, require
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS"]

SOME = 256  # gradients added in float32


@kernel
def embedding_forward(chunk, start, stop, table: Matrix, indices: Integers, y: Matrix):
    """Rows ``start … stop`` of y (N, D): those of the table (V, D) that the indices (N) name."""
    for r in range(start, stop):
        # indices out of range are refused elsewhere
        source, row = table[min(max(indices[r], 0), table.shape[0] - 1)], y[r]
        for j in range(row.size):
            row[j] = source[j]


@kernel
def embedding_backward(
    chunk, start, stop, g: Matrix, indices: Integers, table: Matrix, places: Nullable[Integers],
    sums: Nullable[Doubles],
):  # fmt: skip
    """Rows ``start … stop`` of the table's gradient (V, D), from g (N, D) and indices (N).

    A chunk has some rows of the table, and adds to them in the order of the indices, so the result
    does not depend on the threads.  The gradients of frequent rows are added in float64, in the row
    of the sums whose number is in ``places``.
    """
    for k in range(start, stop):
        clear(table[k])
    if not is_given(places):
        for r in range(indices.size):
            k = min(max(indices[r], 0), table.shape[0] - 1)
            if start <= k < stop:
                row, source = table[k], g[r]
                for j in range(row.size):
                    row[j] += source[j]
        return
    D = table.shape[1]
    for k in range(start, stop):
        places[k] = 0
    for r in range(indices.size):
        k = min(max(indices[r], 0), table.shape[0] - 1)
        if start <= k < stop:
            places[k] += 1
    place = chunk * (indices.size // SOME)
    for k in range(start, stop):
        if places[k] < SOME:
            places[k] = -1
            continue
        places[k] = place
        clear(sums[place * D : (place + 1) * D])
        place += 1
    for r in range(indices.size):
        k = min(max(indices[r], 0), table.shape[0] - 1)
        if start <= k < stop:
            row, source = table[k], g[r]
            if places[k] < 0:
                for j in range(row.size):
                    row[j] += source[j]
            else:
                total = sums[places[k] * D : (places[k] + 1) * D]
                for j in range(total.size):
                    total[j] += source[j]
    for k in range(start, stop):
        if places[k] >= 0:
            settle(table[k], sums[places[k] * D : (places[k] + 1) * D])


def _forward(weight: Array, indices: Array) -> tuple[Array, None]:
    require(weight.ndim == 2, "a table of two axes")
    y = empty((*indices.shape, weight.shape[1]))
    if y.size:
        require(len(weight) > 0, "a table with rows")
        launch(
            embedding_forward, dense(weight), long_integers(indices),
            y.reshape(indices.size, weight.shape[1]), items=indices.size,
            chunks=min(indices.size, split(y.size, ELEMENTS)),
        )  # fmt: skip
    return y, None


def _backward(
    g: Array, saved: None, grads_out: GradsOut, weight: Array, indices: Array
) -> tuple[Array | None, None]:
    dw = grad_memory(grads_out[0], weight.shape)
    if dw is not None and dw.size:
        chunks, often = min(len(weight), split(dw.size + g.size, ELEMENTS)), indices.size // SOME
        places = empty((len(weight),), np.int64) if often else None
        sums = empty((chunks * often, weight.shape[1]), np.float64) if often else None
        launch(
            embedding_backward, dense(g).reshape(indices.size, weight.shape[1]),
            long_integers(indices), dw, places, sums, items=len(weight), chunks=chunks,
        )  # fmt: skip
    return dw, None


KERNELS: dict[str, KernelPair] = {"embedding": KernelPair(_forward, _backward, writes=True)}
