"""Long short-term memory over whole sequences; see `sequences`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Doubles,
    Integers,
    Matrix,
    Nullable,
    Quad,
    Vector,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, clear, flush, settle
from nnlib_backends.numpy_backend.codegen.gemm import GROUP, multiply_address
from nnlib_backends.numpy_backend.codegen.host import grad_memory
from nnlib_backends.numpy_backend.kernels.recurrent.sequences import (
    add,
    add_product,
    before,
    by_recurrent,
    chunks_for,
    copy,
    finish,
    groups_of,
    initial,
    lengths_of,
    optional,
    packed,
    present,
    projected,
    row,
    slopes_by_recurrent,
    weight_gradients,
)
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch

__all__ = ["KERNELS"]

ONE = np.float32(1.0)


@kernel
def lstm_forward(
    chunk, start, stop, x: Cube, w: Matrix, r: Matrix, bias_x: Nullable[Vector],
    bias_h: Nullable[Vector], h0: Nullable[Matrix], c0: Nullable[Matrix],
    lengths: Nullable[Integers], peepholes: Nullable[Vector], states: Quad, gates: Cube,
    work: Vector, blas: int, reverse: int, tile: int,
):  # fmt: skip
    """Groups ``start … stop`` of sequences: states (2, B, T, H) and gates (B, T, 4 H).

    x is (B, T, D), r the transposed weights (H, P).  The workspace of a sequence is h, c and R h.
    """
    (B, T, _), (H, P) = x.shape, r.shape
    first, last = start * GROUP, min(stop * GROUP, B)
    h, c, hidden = view(work, 0, (B, H)), view(work, B * H, (B, H)), view(work, 2 * B * H, (B, P))
    projected(blas, x, w, gates, first, last)
    for b in range(first, last):
        initial(h0, b, h[b])
        initial(c0, b, c[b])
    for step in range(T):
        now = T - 1 - step if reverse else step
        by_recurrent(tile, h, r, first, last, hidden)
        for b in range(first, last):
            new_h, new_c = h[b], c[b]
            if present(lengths, b, now):
                z = gates[b, now]
                add(z, hidden[b])
                if is_given(bias_x):
                    add(z, bias_x)
                if is_given(bias_h):
                    add(z, bias_h)
                _cell(z, new_h, new_c, peepholes)
            copy(new_h, states[0, b, now])
            copy(new_c, states[1, b, now])


@njit
def _cell(z, h, c, peepholes):
    """One step of one sequence: activate the gates, update h and c."""
    H = h.size
    i, f, g, o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    if is_given(peepholes):
        add_product(i, row(peepholes, 0, H), c)
        add_product(f, row(peepholes, 1, H), c)
    both = z[: 2 * H]
    for j in range(both.size):
        both[j] = fn.sigmoid(both[j])
    for j in range(g.size):
        g[j] = fn.tanh(g[j])
    for j in range(c.size):
        c[j] = f[j] * c[j] + i[j] * g[j]
    if is_given(peepholes):
        add_product(o, row(peepholes, 2, H), c)
    for j in range(o.size):
        o[j] = fn.sigmoid(o[j])
    for j in range(h.size):
        h[j] = o[j] * fn.tanh(c[j])


@kernel
def lstm_backward(
    chunk, start, stop, g: Quad, states: Quad, gates: Cube, r: Matrix, h0: Nullable[Matrix],
    c0: Nullable[Matrix], lengths: Nullable[Integers], peepholes: Nullable[Vector], slopes: Cube,
    old_h: Cube, dh0: Nullable[Matrix], dc0: Nullable[Matrix], work: Vector, reverse: int,
    tile: int,
):  # fmt: skip
    """Groups ``start … stop`` of sequences: slopes (B, T, 4 H), h before each step (B, T, H).

    r is (4 H, P).  The workspace of a sequence is: dh of steps beyond its length, dc, the previous
    c, tanh(c), and ``slopes R``, which becomes dh.
    """
    (B, T, H), P = old_h.shape, r.shape[1]
    first, last = start * GROUP, min(stop * GROUP, B)
    past, dc = view(work, 0, (B, H)), view(work, B * H, (B, H))
    old_c, squashed = view(work, 2 * B * H, (B, H)), view(work, 3 * B * H, (B, H))
    hidden = view(work, 4 * B * H, (B, P))
    for b in range(first, last):
        clear(past[b])
        clear(dc[b])
        clear(hidden[b])
    for step in range(T):
        now = step if reverse else T - 1 - step
        for b in range(first, last):
            dh = hidden[b, :H]
            add(dh, past[b])
            add(dh, g[0, b, now])
            add(dc[b], g[1, b, now])
            before(states[0], h0, b, now, reverse, old_h[b, now])
            if present(lengths, b, now):
                clear(past[b])
                before(states[1], c0, b, now, reverse, old_c[b])
                _squash(states[1, b, now], squashed[b])
                _slopes(gates[b, now], slopes[b, now], dh, dc[b], old_c[b], squashed[b], peepholes)
            else:
                copy(dh, past[b])
                clear(slopes[b, now])
        slopes_by_recurrent(tile, slopes, now, r, first, last, hidden)
    for b in range(first, last):
        finish(dh0, b, hidden[b], past[b])
        clear(past[b])
        finish(dc0, b, dc[b], past[b])


@njit
def _squash(c, to):
    for j in range(to.size):
        to[j] = fn.tanh(c[j])


@njit
def _slopes(z, d, dh, dc, old_c, squashed, peepholes):
    """Compute the gradients by the gates' inputs, and by the previous c, from dh and dc."""
    H = dh.size
    i, f, g, o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    di, df, dg, do = d[:H], d[H : 2 * H], d[2 * H : 3 * H], d[3 * H :]
    for j in range(do.size):
        do[j] = dh[j] * squashed[j] * o[j] * (ONE - o[j])
    for j in range(dc.size):
        dc[j] += dh[j] * o[j] * (ONE - squashed[j] * squashed[j])
    if is_given(peepholes):
        add_product(dc, do, row(peepholes, 2, H))
    for j in range(di.size):
        di[j] = dc[j] * g[j] * i[j] * (ONE - i[j])
    for j in range(df.size):
        df[j] = dc[j] * old_c[j] * f[j] * (ONE - f[j])
    for j in range(dg.size):
        dg[j] = dc[j] * i[j] * (ONE - g[j] * g[j])
    for j in range(dc.size):
        dc[j] *= f[j]
    if is_given(peepholes):
        add_product(dc, di, row(peepholes, 0, H))
        add_product(dc, df, row(peepholes, 1, H))


@kernel
def lstm_peepholes(
    chunk, start, stop, slopes: Cube, states: Quad, c0: Nullable[Matrix], dpeepholes: Vector,
    old_c: Vector, totals: Doubles, reverse: int,
):  # fmt: skip
    """Gradient by the peepholes (3 H); the workspaces are the previous c (H), the sums (3 H)."""
    (B, T, G), H = slopes.shape, old_c.size
    to_i, to_f, to_o = dpeepholes[:H], dpeepholes[H : 2 * H], dpeepholes[2 * H :]
    clear(dpeepholes)
    clear(totals)
    for n in range(B * T):
        if n > 0 and n % SOME == 0:
            flush(dpeepholes, totals)
        d = row(slopes, n, G)
        before(states[1], c0, n // T, n % T, reverse, old_c)
        add_product(to_i, d[:H], old_c)
        add_product(to_f, d[H : 2 * H], old_c)
        add_product(to_o, d[3 * H :], states[1, n // T, n % T])
    settle(dpeepholes, totals)


def _forward(
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    c0: Array | None, lengths: Array | None, peepholes: Array | None, *, reverse: bool,
) -> tuple[Array, Any]:  # fmt: skip
    (B, T, _), H = x.shape, r.shape[1]
    right = packed(r, transpose=True)
    states, gates = empty((2, B, T, H)), empty((B, T, 4 * H))
    work = empty(B * (2 * H + right.shape[1]))
    chunks = chunks_for(B, T * gates.shape[2] * (x.shape[2] + H))
    launch(
        lstm_forward, dense(x), dense(w), right, *optional(b, d, h0, c0), lengths_of(lengths),
        *optional(peepholes), states, gates, work, sgemm_address(), int(reverse),
        multiply_address(), items=groups_of(B), chunks=chunks,
    )  # fmt: skip
    return states, (states, gates)


def _backward(
    g: Array, saved: Any, grads_out: GradsOut,
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    c0: Array | None, lengths: Array | None, peepholes: Array | None, *, reverse: bool,
) -> list[Array | None]:  # fmt: skip
    (states, gates), (B, T, _), H = saved, x.shape, r.shape[1]
    right = packed(r, transpose=False)
    slopes, old_h = empty(gates.shape), empty((B, T, H))
    dh0, dc0 = grad_memory(grads_out[5], (B, H)), grad_memory(grads_out[6], (B, H))
    work = empty(B * (4 * H + right.shape[1]))
    launch(
        lstm_backward, dense(g), states, gates, right, *optional(h0, c0), lengths_of(lengths),
        *optional(peepholes), slopes, old_h, dh0, dc0, work, int(reverse), multiply_address(),
        items=groups_of(B), chunks=chunks_for(B, T * 4 * H * H),
    )  # fmt: skip
    dpeepholes = grad_memory(grads_out[8], (3 * H,))
    if dpeepholes is not None:
        launch(
            lstm_peepholes, slopes, states, *optional(c0), dpeepholes, empty(H),
            empty((3 * H,), np.float64), int(reverse), items=1,
        )  # fmt: skip
    weights = weight_gradients(grads_out, slopes, slopes, x, old_h, w, H, lengths)
    return [*weights, dh0, dc0, None, dpeepholes]


KERNELS: dict[str, KernelPair] = {"lstm": KernelPair(_forward, _backward, writes=True)}
