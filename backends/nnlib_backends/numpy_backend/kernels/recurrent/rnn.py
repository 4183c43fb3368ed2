"""Simple recurrent network over whole sequences; see `recurrence`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import njit

from nnlib_backends.base import KernelPair
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
from nnlib_backends.numpy_backend.kernels.activation import CODES, activate, derive
from nnlib_backends.numpy_backend.kernels.recurrent.sequences import (
    add,
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


@kernel
def rnn_forward(t, chunk, start, stop):
    """Arguments: those of `_forward`'s launch; the workspace of a sequence is h and R h."""
    B, T, D = cube(t, 0).shape
    H, P = matrix(t, 2).shape
    first, last = start * GROUP, min(stop * GROUP, B)
    states, h, hidden = address(t, 7), address(t, 8), address(t, 8) + 4 * B * H
    projected(integer(t, 9), address(t, 0), address(t, 1), states, first, last, T, D, H)
    for b in range(first, last):
        initial(address(t, 5), b, row(h, b, H))
    for step in range(T):
        now = T - 1 - step if integer(t, 10) else step
        multiply(
            integer(t, 12), last - first, P, H, h + 4 * first * H, H, 1, address(t, 2), P,
            hidden + 4 * first * P, P, 0,
        )  # fmt: skip
        for b in range(first, last):
            z, new_h = row(states, b * T + now, H), row(h, b, H)
            if present(t, 6, b, now):
                add(z, at(hidden + 4 * b * P, H))
                if not is_absent(t, 3):
                    add(z, vector(t, 3))
                if not is_absent(t, 4):
                    add(z, vector(t, 4))
                activate(z, integer(t, 11))
                copy(z, new_h)
            else:
                copy(new_h, z)


@kernel
def rnn_backward(t, chunk, start, stop):
    """Arguments: those of `_backward`'s launch.

    The workspace of a sequence is what of dh goes past R, and ``slopes R``, which becomes dh.
    """
    B, T, H = cube(t, 1).shape
    P = matrix(t, 2).shape[1]
    first, last = start * GROUP, min(stop * GROUP, B)
    slopes, past, hidden = address(t, 5), address(t, 8), address(t, 8) + 4 * B * H
    for b in range(first, last):
        clear(row(past, b, H))
        clear(row(hidden, b, P))
    for step in range(T):
        now = step if integer(t, 9) else T - 1 - step
        for b in range(first, last):
            _back(t, b, now, at(hidden + 4 * b * P, H), row(past, b, H))
        multiply(
            integer(t, 11), last - first, P, H, slopes + 4 * (first * T + now) * H, T * H, 1,
            address(t, 2), P, hidden + 4 * first * P, P, 0,
        )  # fmt: skip
    for b in range(first, last):
        finish(address(t, 7), b, at(hidden + 4 * b * P, H), row(past, b, H))


@njit
def _back(t, b, now, dh, past):
    """One step of one sequence: the slope, and what of dh goes past it."""
    _, T, H = cube(t, 1).shape
    n = b * T + now
    add(dh, past)
    add(dh, row(address(t, 0), n, H))
    before(address(t, 1), address(t, 3), b, now, T, integer(t, 9), row(address(t, 6), n, H))
    d = row(address(t, 5), n, H)
    if present(t, 4, b, now):
        derive(dh, row(address(t, 1), n, H), d, integer(t, 10))
        clear(past)
    else:
        copy(dh, past)
        clear(d)


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
    g: Array, states: Array, needs: Sequence[Any],
    x: Array, w: Array, r: Array, b: Array | None, d: Array | None, h0: Array | None,
    lengths: Array | None, *, nonlinearity: str, reverse: bool,
) -> list[Array | None]:  # fmt: skip
    (B, T, _), H = x.shape, r.shape[1]
    right, slopes, old_h = packed(r, transpose=False), empty((B, T, H)), empty((B, T, H))
    dh0 = place(needs[5], (B, H))
    launch(
        rnn_backward, dense(g), states, right, *optional(h0), lengths_of(lengths), slopes, old_h,
        dh0, empty(B * (H + right.shape[1])), int(reverse), CODES[nonlinearity], multiply_address(),
        items=groups_of(B), chunks=chunks_for(B, T * H * H),
    )  # fmt: skip
    return [*weight_gradients(needs, slopes, slopes, x, old_h, w, H, lengths), dh0, None]


KERNELS: dict[str, KernelPair] = {"rnn": KernelPair(_forward, _backward)}
