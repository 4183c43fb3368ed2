"""Gated recurrent unit over whole sequences; see `sequences`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Integers,
    Matrix,
    Nullable,
    Vector,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.dispatch import sgemm_address
from nnlib_backends.numpy_backend.codegen.exact_sums import clear
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
    slopes_by_recurrent,
    weight_gradients,
)
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch

__all__ = ["KERNELS"]

ONE = np.float32(1.0)


@kernel
def gru_forward(
    chunk, start, stop, x: Cube, w: Matrix, r: Matrix, bias_x: Nullable[Vector],
    bias_h: Nullable[Vector], h0: Nullable[Matrix], lengths: Nullable[Integers], states: Cube,
    gates: Cube, inner: Cube, work: Vector, blas: int, reverse: int, tile: int,
):  # fmt: skip
    """Groups ``start … stop`` of sequences: states and inner (B, T, H), gates (B, T, 3 H).

    x is (B, T, D), r the transposed weights (H, P).  The workspace of a sequence is h and R h.
    """
    (B, T, _), (H, P) = x.shape, r.shape
    first, last = start * GROUP, min(stop * GROUP, B)
    h, hidden = view(work, 0, (B, H)), view(work, B * H, (B, P))
    projected(blas, x, w, gates, first, last)
    for b in range(first, last):
        initial(h0, b, h[b])
    for step in range(T):
        now = T - 1 - step if reverse else step
        by_recurrent(tile, h, r, first, last, hidden)
        for b in range(first, last):
            if present(lengths, b, now):
                from_x, from_h = gates[b, now], hidden[b, : 3 * H]
                if is_given(bias_x):
                    add(from_x, bias_x)
                if is_given(bias_h):
                    add(from_h, bias_h)
                copy(from_h[2 * H :], inner[b, now])
                _cell(from_x, from_h, h[b], H)
            copy(h[b], states[b, now])


@njit
def _cell(z, hidden, h, H):
    """One step of one sequence: activate the gates, update h."""
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
def gru_backward(
    chunk, start, stop, g: Cube, states: Cube, gates: Cube, inner: Cube, r: Matrix,
    h0: Nullable[Matrix], lengths: Nullable[Integers], from_x: Cube, from_h: Cube, old_h: Cube,
    dh0: Nullable[Matrix], work: Vector, reverse: int, tile: int,
):  # fmt: skip
    """Groups ``start … stop`` of sequences: slopes (B, T, 3 H), h before each step (B, T, H).

    r is (3 H, P).  The workspace of a sequence is the part of dh that bypasses R, and ``slopes R``,
    which becomes dh.
    """
    (B, T, H), P = states.shape, r.shape[1]
    first, last = start * GROUP, min(stop * GROUP, B)
    past, hidden = view(work, 0, (B, H)), view(work, B * H, (B, P))
    for b in range(first, last):
        clear(past[b])
        clear(hidden[b])
    for step in range(T):
        now = step if reverse else T - 1 - step
        for b in range(first, last):
            dh = hidden[b, :H]
            add(dh, past[b])
            add(dh, g[b, now])
            before(states, h0, b, now, reverse, old_h[b, now])
            if present(lengths, b, now):
                _slopes(
                    gates[b, now], inner[b, now], old_h[b, now], dh, from_x[b, now],
                    from_h[b, now], past[b],
                )  # fmt: skip
            else:
                copy(dh, past[b])
                clear(from_x[b, now])
                clear(from_h[b, now])
        slopes_by_recurrent(tile, from_h, now, r, first, last, hidden)
    for b in range(first, last):
        finish(dh0, b, hidden[b], past[b])


@njit
def _slopes(z, inner, old_h, dh, from_x, from_h, past):
    """One step of one sequence: gradients by the gates, and the part of dh that bypasses them."""
    H = dh.size
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
    g: Array, saved: Any, grads_out: GradsOut,
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    lengths: Array | None, *, reverse: bool,
) -> list[Array | None]:  # fmt: skip
    (states, gates, inner), (B, T, _), H = saved, x.shape, r.shape[1]
    right = packed(r, transpose=False)
    from_x, from_h, old_h = empty(gates.shape), empty(gates.shape), empty((B, T, H))
    dh0 = grad_memory(grads_out[5], (B, H))
    launch(
        gru_backward, dense(g), states, gates, inner, right, *optional(h0), lengths_of(lengths),
        from_x, from_h, old_h, dh0, empty(B * (H + right.shape[1])), int(reverse),
        multiply_address(), items=groups_of(B), chunks=chunks_for(B, T * 3 * H * H),
    )  # fmt: skip
    return [*weight_gradients(grads_out, from_x, from_h, x, old_h, w, H, lengths), dh0, None]


KERNELS: dict[str, KernelPair] = {"gru": KernelPair(_forward, _backward, writes=True)}
