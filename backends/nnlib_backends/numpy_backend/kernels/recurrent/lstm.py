"""Long short-term memory over whole sequences; see `recurrence`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import KernelPair
from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    at,
    cube,
    doubles,
    integer,
    is_absent,
    kernel,
    matrix,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address
from nnlib_backends.numpy_backend.codegen.exact_sums import SOME, clear, flush, settle
from nnlib_backends.numpy_backend.codegen.gemm_tile import GROUP, multiply, multiply_address
from nnlib_backends.numpy_backend.codegen.host import place
from nnlib_backends.numpy_backend.kernels.recurrent.sequences import (
    add,
    add_product,
    before,
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
    weight_gradients,
)
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch

__all__ = ["KERNELS"]

ONE = np.float32(1.0)


@kernel
def lstm_forward(t, chunk, start, stop):
    """Arguments: x, W, Rᵀ, b, d, h0, c0, lengths, peepholes, states, gates, work, BLAS, reverse.

    The workspace of a sequence is h, c and R h.
    """
    B, T, D = cube(t, 0).shape
    H, P = matrix(t, 2).shape
    first, last, G = start * GROUP, min(stop * GROUP, B), 4 * H
    gates, states, work = address(t, 10), address(t, 9), address(t, 11)
    h, c, hidden = work, work + 4 * B * H, work + 8 * B * H
    projected(integer(t, 12), address(t, 0), address(t, 1), gates, first, last, T, D, G)
    for b in range(first, last):
        initial(address(t, 5), b, row(h, b, H))
        initial(address(t, 6), b, row(c, b, H))
    for step in range(T):
        now = T - 1 - step if integer(t, 13) else step
        multiply(
            integer(t, 14), last - first, P, H, h + 4 * first * H, H, 1, address(t, 2), P,
            hidden + 4 * first * P, P, 0,
        )  # fmt: skip
        for b in range(first, last):
            new_h, new_c = row(h, b, H), row(c, b, H)
            if present(t, 7, b, now):
                z = row(gates, b * T + now, G)
                add(z, at(hidden + 4 * b * P, G))
                if not is_absent(t, 3):
                    add(z, vector(t, 3))
                if not is_absent(t, 4):
                    add(z, vector(t, 4))
                _cell(z, new_h, new_c, address(t, 8), H)
            copy(new_h, row(states, b * T + now, H))
            copy(new_c, row(states, (B + b) * T + now, H))


@njit
def _cell(z, h, c, peepholes, H):
    """One step of one sequence: activate the gates, renew h and c."""
    i, f, g, o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    if peepholes != 0:
        add_product(i, row(peepholes, 0, H), c)
        add_product(f, row(peepholes, 1, H), c)
    both = z[: 2 * H]
    for j in range(both.size):
        both[j] = fn.sigmoid(both[j])
    for j in range(g.size):
        g[j] = fn.tanh(g[j])
    for j in range(c.size):
        c[j] = f[j] * c[j] + i[j] * g[j]
    if peepholes != 0:
        add_product(o, row(peepholes, 2, H), c)
    for j in range(o.size):
        o[j] = fn.sigmoid(o[j])
    for j in range(h.size):
        h[j] = o[j] * fn.tanh(c[j])


@kernel
def lstm_backward(t, chunk, start, stop):
    """Arguments: those of `_backward`'s launch.

    The workspace of a sequence is: what of dh gets past a step without a sequence, dc, c before,
    tanh(c), and ``slopes R``, which becomes dh.
    """
    B, T, H = cube(t, 9).shape
    P, G = matrix(t, 3).shape[1], 4 * H
    first, last = start * GROUP, min(stop * GROUP, B)
    slopes, past, dc = address(t, 8), address(t, 12), address(t, 12) + 4 * B * H
    hidden = address(t, 12) + 16 * B * H
    for b in range(first, last):
        clear(row(past, b, H))
        clear(row(dc, b, H))
        clear(row(hidden, b, P))
    for step in range(T):
        now = step if integer(t, 13) else T - 1 - step
        for b in range(first, last):
            _back(t, b, now, at(hidden + 4 * b * P, H), row(past, b, H), row(dc, b, H))
        multiply(
            integer(t, 14), last - first, P, G, slopes + 4 * (first * T + now) * G, T * G, 1,
            address(t, 3), P, hidden + 4 * first * P, P, 0,
        )  # fmt: skip
    for b in range(first, last):
        finish(address(t, 10), b, at(hidden + 4 * b * P, H), row(past, b, H))
        clear(row(past, b, H))
        finish(address(t, 11), b, row(dc, b, H), row(past, b, H))


@njit
def _back(t, b, now, dh, past, dc):
    """One step of one sequence: slopes of the gates, and the gradients by h and c before it."""
    B, T, H = cube(t, 9).shape
    n = b * T + now
    add(dh, past)
    add(dh, row(address(t, 0), n, H))
    add(dc, row(address(t, 0), B * T + n, H))
    before(address(t, 1), address(t, 4), b, now, T, integer(t, 13), row(address(t, 9), n, H))
    d = row(address(t, 8), n, 4 * H)
    if not present(t, 6, b, now):
        copy(dh, past)
        clear(d)
        return
    clear(past)
    z = row(address(t, 2), n, 4 * H)
    old_c, squashed = row(address(t, 12), 2 * B + b, H), row(address(t, 12), 3 * B + b, H)
    before(address(t, 1) + 4 * B * T * H, address(t, 5), b, now, T, integer(t, 13), old_c)
    c = row(address(t, 1), B * T + n, H)
    for j in range(squashed.size):
        squashed[j] = fn.tanh(c[j])
    _slopes(z, d, dh, dc, old_c, squashed, address(t, 7), H)


@njit
def _slopes(z, d, dh, dc, old_c, squashed, peepholes, H):
    """From dh and dc to the gradients by what is activated, and by c before."""
    i, f, g, o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    di, df, dg, do = d[:H], d[H : 2 * H], d[2 * H : 3 * H], d[3 * H :]
    for j in range(do.size):
        do[j] = dh[j] * squashed[j] * o[j] * (ONE - o[j])
    for j in range(dc.size):
        dc[j] += dh[j] * o[j] * (ONE - squashed[j] * squashed[j])
    if peepholes != 0:
        add_product(dc, do, row(peepholes, 2, H))
    for j in range(di.size):
        di[j] = dc[j] * g[j] * i[j] * (ONE - i[j])
    for j in range(df.size):
        df[j] = dc[j] * old_c[j] * f[j] * (ONE - f[j])
    for j in range(dg.size):
        dg[j] = dc[j] * i[j] * (ONE - g[j] * g[j])
    for j in range(dc.size):
        dc[j] *= f[j]
    if peepholes != 0:
        add_product(dc, di, row(peepholes, 0, H))
        add_product(dc, df, row(peepholes, 1, H))


@kernel
def lstm_peepholes(t, chunk, start, stop):
    """Arguments: slopes, states, c0, dpeepholes, work (H), the sums in float64, reverse."""
    B, T, G = cube(t, 0).shape
    H, old_c, cells = G // 4, vector(t, 4), address(t, 1) + 4 * B * T * (G // 4)
    some, totals = vector(t, 3), doubles(t, 5)
    to_i, to_f, to_o = some[:H], some[H : 2 * H], some[2 * H :]
    clear(some)
    clear(totals)
    for n in range(B * T):
        if n > 0 and n % SOME == 0:
            flush(some, totals)
        d = row(address(t, 0), n, G)
        before(cells, address(t, 2), n // T, n % T, T, integer(t, 6), old_c)
        add_product(to_i, d[:H], old_c)
        add_product(to_f, d[H : 2 * H], old_c)
        add_product(to_o, d[3 * H :], row(cells, n, H))
    settle(some, totals)


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
    g: Array, saved: Any, needs: Sequence[Any],
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    c0: Array | None, lengths: Array | None, peepholes: Array | None, *, reverse: bool,
) -> list[Array | None]:  # fmt: skip
    (states, gates), (B, T, _), H = saved, x.shape, r.shape[1]
    right = packed(r, transpose=False)
    slopes, old_h = empty(gates.shape), empty((B, T, H))
    dh0, dc0 = place(needs[5], (B, H)), place(needs[6], (B, H))
    work = empty(B * (4 * H + right.shape[1]))
    launch(
        lstm_backward, dense(g), states, gates, right, *optional(h0, c0), lengths_of(lengths),
        *optional(peepholes), slopes, old_h, dh0, dc0, work, int(reverse), multiply_address(),
        items=groups_of(B), chunks=chunks_for(B, T * 4 * H * H),
    )  # fmt: skip
    dpeepholes = place(needs[8], (3 * H,))
    if dpeepholes is not None:
        launch(
            lstm_peepholes, slopes, states, *optional(c0), dpeepholes, empty(H),
            empty((3 * H,), np.float64), int(reverse), items=1,
        )  # fmt: skip
    weights = weight_gradients(needs, slopes, slopes, x, old_h, w, H, lengths)
    return [*weights, dh0, dc0, None, dpeepholes]


KERNELS: dict[str, KernelPair] = {"lstm": KernelPair(_forward, _backward)}
