"""Simple recurrent network over whole sequences; see `sequences`."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import GradsOut, KernelPair
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
from nnlib_backends.numpy_backend.kernels.activation import CODES, activate, derive
from nnlib_backends.numpy_backend.kernels.recurrent.sequences import (
    add,
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


@kernel
def rnn_forward(
    chunk, start, stop, x: Cube, w: Matrix, r: Matrix, bias_x: Nullable[Vector],
    bias_h: Nullable[Vector], h0: Nullable[Matrix], lengths: Nullable[Integers], states: Cube,
    work: Vector, blas: int, reverse: int, code: int, tile: int,
):  # fmt: skip
    """Groups ``start … stop`` of sequences: states (B, T, H).

    x is (B, T, D), r the transposed weights (H, P).  The workspace of a sequence is h and R h.
    """
    (B, T, _), (H, P) = x.shape, r.shape
    first, last = start * GROUP, min(stop * GROUP, B)
    h, hidden = view(work, 0, (B, H)), view(work, B * H, (B, P))
    projected(blas, x, w, states, first, last)
    for b in range(first, last):
        initial(h0, b, h[b])
    for step in range(T):
        now = T - 1 - step if reverse else step
        by_recurrent(tile, h, r, first, last, hidden)
        for b in range(first, last):
            z = states[b, now]
            if present(lengths, b, now):
                add(z, hidden[b])
                if is_given(bias_x):
                    add(z, bias_x)
                if is_given(bias_h):
                    add(z, bias_h)
                activate(z, code)
                copy(z, h[b])
            else:
                copy(h[b], z)


@kernel
def rnn_backward(
    chunk, start, stop, g: Cube, states: Cube, r: Matrix, h0: Nullable[Matrix],
    lengths: Nullable[Integers], slopes: Cube, old_h: Cube, dh0: Nullable[Matrix], work: Vector,
    reverse: int, code: int, tile: int,
):  # fmt: skip
    """Groups ``start … stop`` of sequences: slopes and h before each step (B, T, H).

    r is (H, P).  The workspace of a sequence is the part of dh that bypasses R, and ``slopes R``,
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
            dh, d = hidden[b, :H], slopes[b, now]
            add(dh, past[b])
            add(dh, g[b, now])
            before(states, h0, b, now, reverse, old_h[b, now])
            if present(lengths, b, now):
                derive(dh, states[b, now], d, code)
                clear(past[b])
            else:
                copy(dh, past[b])
                clear(d)
        slopes_by_recurrent(tile, slopes, now, r, first, last, hidden)
    for b in range(first, last):
        finish(dh0, b, hidden[b], past[b])


def _forward(
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    lengths: Array | None, *, nonlinearity: str, reverse: bool,
) -> tuple[Array, Any]:  # fmt: skip
    (B, T, D), H = x.shape, r.shape[1]
    right, states = packed(r, transpose=True), empty((B, T, H))
    launch(
        rnn_forward, dense(x), dense(w), right, *optional(b, d, h0), lengths_of(lengths), states,
        empty(B * (H + right.shape[1])), sgemm_address(), int(reverse), CODES[nonlinearity],
        multiply_address(), items=groups_of(B), chunks=chunks_for(B, T * H * (D + H)),
    )  # fmt: skip
    return states, states


def _backward(
    g: Array, states: Array, grads_out: GradsOut,
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    lengths: Array | None, *, nonlinearity: str, reverse: bool,
) -> list[Array | None]:  # fmt: skip
    (B, T, _), H = x.shape, r.shape[1]
    right, slopes, old_h = packed(r, transpose=False), empty((B, T, H)), empty((B, T, H))
    dh0 = grad_memory(grads_out[5], (B, H))
    launch(
        rnn_backward, dense(g), states, right, *optional(h0), lengths_of(lengths), slopes, old_h,
        dh0, empty(B * (H + right.shape[1])), int(reverse), CODES[nonlinearity], multiply_address(),
        items=groups_of(B), chunks=chunks_for(B, T * H * H),
    )  # fmt: skip
    return [*weight_gradients(grads_out, slopes, slopes, x, old_h, w, H, lengths), dh0, None]


KERNELS: dict[str, KernelPair] = {"rnn": KernelPair(_forward, _backward, writes=True)}
