"""Gated recurrent unit over whole sequences; see `recurrence`."""

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
    integer,
    is_absent,
    kernel,
    matrix,
    vector,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address
from nnlib_backends.numpy_backend.codegen.exact_sums import clear
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
def gru_forward(t, chunk, start, stop):
    """Arguments: those of `_forward`'s launch; the workspace of a sequence is h and R h."""
    B, T, D = cube(t, 0).shape
    H, P = matrix(t, 2).shape
    first, last, G = start * GROUP, min(stop * GROUP, B), 3 * H
    gates, inner, h, hidden = (
        address(t, 8),
        address(t, 9),
        address(t, 10),
        address(t, 10) + 4 * B * H,
    )
    projected(integer(t, 11), address(t, 0), address(t, 1), gates, first, last, T, D, G)
    for b in range(first, last):
        initial(address(t, 5), b, row(h, b, H))
    for step in range(T):
        now = T - 1 - step if integer(t, 12) else step
        multiply(
            integer(t, 13), last - first, P, H, h + 4 * first * H, H, 1, address(t, 2), P,
            hidden + 4 * first * P, P, 0,
        )  # fmt: skip
        for b in range(first, last):
            n, new_h = b * T + now, row(h, b, H)
            if present(t, 6, b, now):
                from_x, from_h = row(gates, n, G), at(hidden + 4 * b * P, G)
                if not is_absent(t, 3):
                    add(from_x, vector(t, 3))
                if not is_absent(t, 4):
                    add(from_h, vector(t, 4))
                copy(from_h[2 * H :], row(inner, n, H))
                _cell(from_x, from_h, new_h, H)
            copy(new_h, row(address(t, 7), n, H))


@njit
def _cell(z, hidden, h, H):
    """One step of one sequence: activate the gates, renew h."""
    both, reset, update, new = z[: 2 * H], z[:H], z[H : 2 * H], z[2 * H :]
    add(both, hidden)
    for j in range(both.size):
        both[j] = fn.sigmoid(both[j])
    add_product(new, reset, hidden[2 * H :])
    for j in range(new.size):
        new[j] = fn.tanh(new[j])
    for j in range(h.size):
        h[j] = (ONE - update[j]) * new[j] + update[j] * h[j]


@kernel
def gru_backward(t, chunk, start, stop):
    """Arguments: those of `_backward`'s launch.

    The workspace of a sequence is what of dh goes past R, and ``slopes R``, which becomes dh.
    """
    B, T, H = cube(t, 1).shape
    P, G = matrix(t, 4).shape[1], 3 * H
    first, last = start * GROUP, min(stop * GROUP, B)
    slopes, past, hidden = address(t, 8), address(t, 11), address(t, 11) + 4 * B * H
    for b in range(first, last):
        clear(row(past, b, H))
        clear(row(hidden, b, P))
    for step in range(T):
        now = step if integer(t, 12) else T - 1 - step
        for b in range(first, last):
            _back(t, b, now, at(hidden + 4 * b * P, H), row(past, b, H))
        multiply(
            integer(t, 13), last - first, P, G, slopes + 4 * (first * T + now) * G, T * G, 1,
            address(t, 4), P, hidden + 4 * first * P, P, 0,
        )  # fmt: skip
    for b in range(first, last):
        finish(address(t, 10), b, at(hidden + 4 * b * P, H), row(past, b, H))


@njit
def _back(t, b, now, dh, past):
    """One step of one sequence: slopes of the gates, and what of dh goes past them."""
    _, T, H = cube(t, 1).shape
    n, old_h = b * T + now, row(address(t, 9), b * T + now, H)
    add(dh, past)
    add(dh, row(address(t, 0), n, H))
    before(address(t, 1), address(t, 5), b, now, T, integer(t, 12), old_h)
    from_x, from_h = row(address(t, 7), n, 3 * H), row(address(t, 8), n, 3 * H)
    if not present(t, 6, b, now):
        copy(dh, past)
        clear(from_x)
        clear(from_h)
        return
    z, inner = row(address(t, 2), n, 3 * H), row(address(t, 3), n, H)
    reset, update, new = z[:H], z[H : 2 * H], z[2 * H :]
    dr, du, dn, dh_n = from_x[:H], from_x[H : 2 * H], from_x[2 * H :], from_h[2 * H :]
    for j in range(dn.size):
        dn[j] = dh[j] * (ONE - update[j]) * (ONE - new[j] * new[j])
    for j in range(du.size):
        du[j] = dh[j] * (old_h[j] - new[j]) * update[j] * (ONE - update[j])
    for j in range(dr.size):
        dr[j] = dn[j] * inner[j] * reset[j] * (ONE - reset[j])
    copy(from_x, from_h[: 2 * H])
    for j in range(dh_n.size):
        dh_n[j] = dn[j] * reset[j]
    for j in range(past.size):
        past[j] = dh[j] * update[j]


def _forward(
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    lengths: Array | None, *, reverse: bool,
) -> tuple[Array, Any]:  # fmt: skip
    (B, T, D), H = x.shape, r.shape[1]
    right = packed(r, transpose=True)
    states, gates, inner = empty((B, T, H)), empty((B, T, 3 * H)), empty((B, T, H))
    launch(
        gru_forward, dense(x), dense(w), right, *optional(b, d, h0), lengths_of(lengths), states,
        gates, inner, empty(B * (H + right.shape[1])), sgemm_address(), int(reverse),
        multiply_address(), items=groups_of(B), chunks=chunks_for(B, T * 3 * H * (D + H)),
    )  # fmt: skip
    return states, (states, gates, inner)


def _backward(
    g: Array, saved: Any, needs: Sequence[Any],
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    lengths: Array | None, *, reverse: bool,
) -> list[Array | None]:  # fmt: skip
    (states, gates, inner), (B, T, _), H = saved, x.shape, r.shape[1]
    right = packed(r, transpose=False)
    from_x, from_h, old_h = empty(gates.shape), empty(gates.shape), empty((B, T, H))
    dh0 = place(needs[5], (B, H))
    launch(
        gru_backward, dense(g), states, gates, inner, right, *optional(h0), lengths_of(lengths),
        from_x, from_h, old_h, dh0, empty(B * (H + right.shape[1])), int(reverse),
        multiply_address(), items=groups_of(B), chunks=chunks_for(B, T * 3 * H * H),
    )  # fmt: skip
    return [*weight_gradients(needs, from_x, from_h, x, old_h, w, H, lengths), dh0, None]


KERNELS: dict[str, KernelPair] = {"gru": KernelPair(_forward, _backward)}
