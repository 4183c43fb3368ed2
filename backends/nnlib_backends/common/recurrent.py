"""RNN, LSTM and GRU over whole sequences in terms of ``xp``: the kernel pairs of every backend.

The forward pass keeps the activated gates of every step.  The backward pass goes through the steps
in the opposite order and computes the gradients by the gates; one GEMM at the end then gives the
gradient of each weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.dtypes import sigmoid, total

__all__ = [
    "make_kernels", "project", "start", "states_before", "weight_gradients",
    "within",
]  # fmt: skip


def make_kernels(xp: Any) -> dict[str, KernelPair]:
    """Return name → kernel pair."""
    return {
        "gru": _gru(xp),
        "lstm": _lstm(xp),
        "rnn": _rnn(xp),
    }


def _order(x: Array, reverse: bool) -> Iterable[int]:
    steps = range(x.shape[1])
    return reversed(steps) if reverse else steps


def project(xp: Any, x: Array, weight: Array, bias: Array | None) -> Array:
    """Return ``W x + b`` for all time steps: (B, T, D) → (B, T, G)."""
    z = xp.dot(x.reshape(-1, x.shape[-1]), weight.T).reshape(*x.shape[:-1], weight.shape[0])
    if bias is not None:
        z += bias
    return z


def within(xp: Any, x: Array, lengths: Array | None) -> Array:
    """Return sequences (B, T, D) with zeros outside their lengths."""
    if lengths is None:
        return x
    present = xp.arange(x.shape[1]) < lengths[:, None]
    return xp.where(present[:, :, None], x, 0)


def start(xp: Any, x: Array, weight_hh: Array, state: Array | None) -> Array:
    """Return the initial state; zeros if it is None."""
    if state is not None:
        return state
    return xp.zeros((x.shape[0], weight_hh.shape[1]), dtype=x.dtype)


def _present(lengths: Array | None, t: int) -> Array | None:
    """Whether each sequence has a step ``t``: (B, 1), or None if all have."""
    return None if lengths is None else (lengths > t)[:, None]


def _choose(xp: Any, present: Array | None, new: Array, old: Array) -> Array:
    return new if present is None else xp.where(present, new, old)


def states_before(xp: Any, states: Array, first: Array, reverse: bool) -> Array:
    """Return the states (B, T, H) before every step."""
    first = first[:, None]
    if reverse:
        return xp.concatenate([states[:, 1:], first], axis=1)
    return xp.concatenate([first, states[:, :-1]], axis=1)


def weight_gradients(
    xp: Any,
    grads_out: GradsOut,
    from_x: Array,
    from_h: Array,
    x: Array,
    before: Array,
    weight_ih: Array,
) -> list[Array | None]:
    """Gradients by x, both weights and both biases, from the gradients by ``W x`` and ``R h``."""
    from_x, from_h = (d.reshape(-1, d.shape[-1]) for d in (from_x, from_h))
    return [
        xp.dot(from_x, weight_ih).reshape(x.shape) if grads_out[0] else None,
        xp.dot(from_x.T, x.reshape(-1, x.shape[-1])) if grads_out[1] else None,
        xp.dot(from_h.T, before.reshape(-1, before.shape[-1])) if grads_out[2] else None,
        total(xp, from_x, axis=0) if grads_out[3] else None,
        total(xp, from_h, axis=0) if grads_out[4] else None,
    ]


def _lstm(xp: Any) -> KernelPair:
    def forward(
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, c0: Any, lengths: Any, peep: Any,
        *, reverse: bool,
    ) -> tuple[Array, Any]:  # fmt: skip
        gates, n = project(xp, within(xp, x, lengths), w, b), r.shape[1]
        h, c = start(xp, x, r, h0), start(xp, x, r, c0)
        states = xp.empty((2, *x.shape[:2], n), dtype=gates.dtype)
        for t in _order(x, reverse):
            z, present = gates[:, t], _present(lengths, t)
            z += xp.dot(h, r.T) if d is None else xp.dot(h, r.T) + d
            i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
            if peep is not None:
                i += peep[:n] * c
                f += peep[n : 2 * n] * c
            z[:, : 2 * n] = sigmoid(xp, z[:, : 2 * n])
            g[...] = xp.tanh(g)
            new = f * c + i * g
            if peep is not None:
                o += peep[2 * n :] * new
            o[...] = sigmoid(xp, o)
            h, c = _choose(xp, present, o * xp.tanh(new), h), _choose(xp, present, new, c)
            states[0, :, t], states[1, :, t] = h, c
        return states, (states, gates)

    def backward(
        grad: Array, saved: Any, grads_out: GradsOut,
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, c0: Any, lengths: Any, peep: Any,
        *, reverse: bool,
    ) -> list[Array | None]:  # fmt: skip
        (states, gates), n = saved, r.shape[1]
        before = [
            states_before(xp, states[part], start(xp, x, r, first), reverse)
            for part, first in enumerate((h0, c0))
        ]
        slopes = xp.empty(gates.shape, dtype=gates.dtype)
        dh = dc = xp.zeros((x.shape[0], n), dtype=gates.dtype)
        for t in _order(x, not reverse):
            i, f, g, o = (gates[:, t, k * n : (k + 1) * n] for k in range(4))
            di, df, dg, do = (slopes[:, t, k * n : (k + 1) * n] for k in range(4))
            dh, dc = dh + grad[0, :, t], dc + grad[1, :, t]
            c, old_c, present = states[1, :, t], before[1][:, t], _present(lengths, t)
            squashed = xp.tanh(c)
            do[...] = dh * squashed * o * (1 - o)
            dnew = dc + dh * o * (1 - squashed * squashed)
            if peep is not None:
                dnew += do * peep[2 * n :]
            di[...] = dnew * g * i * (1 - i)
            df[...] = dnew * old_c * f * (1 - f)
            dg[...] = dnew * i * (1 - g * g)
            if present is not None:
                slopes[:, t] *= present
            old_dc = dnew * f
            if peep is not None:
                old_dc += di * peep[:n] + df * peep[n : 2 * n]
            dh = _choose(xp, present, xp.dot(slopes[:, t], r), dh)
            dc = _choose(xp, present, old_dc, dc)
        dpeepholes = None
        if grads_out[8]:
            seen = (before[1], before[1], states[1])
            parts = (slopes[..., k * n : (k + 1) * n] for k in (0, 1, 3))
            dpeepholes = xp.concatenate(
                [total(xp, p * s, axis=(0, 1)) for p, s in zip(parts, seen, strict=True)]
            )
        x = within(xp, x, lengths)
        weights = weight_gradients(xp, grads_out, slopes, slopes, x, before[0], w)
        return [*weights, dh, dc, None, dpeepholes]

    return KernelPair(forward, backward)


def _gru(xp: Any) -> KernelPair:
    def forward(
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any, *, reverse: bool
    ) -> tuple[Array, Any]:
        gates, n = project(xp, within(xp, x, lengths), w, b), r.shape[1]
        h = start(xp, x, r, h0)
        states = xp.empty((*x.shape[:2], n), dtype=gates.dtype)
        inner = xp.empty((*x.shape[:2], n), dtype=gates.dtype)  # R h + d of n
        for t in _order(x, reverse):
            z, present = gates[:, t], _present(lengths, t)
            hidden = xp.dot(h, r.T)
            if d is not None:
                hidden += d
            z[:, : 2 * n] = sigmoid(xp, z[:, : 2 * n] + hidden[:, : 2 * n])
            inner[:, t] = hidden[:, 2 * n :]
            z[:, 2 * n :] = xp.tanh(z[:, 2 * n :] + z[:, :n] * inner[:, t])
            update, new = z[:, n : 2 * n], z[:, 2 * n :]
            h = _choose(xp, present, (1 - update) * new + update * h, h)
            states[:, t] = h
        return states, (states, gates, inner)

    def backward(
        grad: Array, saved: Any, grads_out: GradsOut,
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any, *, reverse: bool,
    ) -> list[Array | None]:  # fmt: skip
        (states, gates, inner), n = saved, r.shape[1]
        before = states_before(xp, states, start(xp, x, r, h0), reverse)
        from_x, from_h = (xp.empty(gates.shape, dtype=gates.dtype) for _ in range(2))
        dh = xp.zeros((x.shape[0], n), dtype=gates.dtype)
        for t in _order(x, not reverse):
            reset, update, new = (gates[:, t, k * n : (k + 1) * n] for k in range(3))
            dh, present = dh + grad[:, t], _present(lengths, t)
            dn = dh * (1 - update) * (1 - new * new)
            dz = dh * (before[:, t] - new) * update * (1 - update)
            dr = dn * inner[:, t] * reset * (1 - reset)
            from_x[:, t] = xp.concatenate([dr, dz, dn], axis=1)
            from_h[:, t] = xp.concatenate([dr, dz, dn * reset], axis=1)
            if present is not None:
                from_x[:, t] *= present
                from_h[:, t] *= present
            dh = _choose(xp, present, dh * update + xp.dot(from_h[:, t], r), dh)
        return [
            *weight_gradients(xp, grads_out, from_x, from_h, within(xp, x, lengths), before, w),
            dh,
            None,
        ]

    return KernelPair(forward, backward)


def _rnn(xp: Any) -> KernelPair:
    def forward(
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any,
        *, nonlinearity: str, reverse: bool,
    ) -> tuple[Array, Any]:  # fmt: skip
        states, h = project(xp, within(xp, x, lengths), w, b), start(xp, x, r, h0)
        for t in _order(x, reverse):
            z = states[:, t]
            z += xp.dot(h, r.T) if d is None else xp.dot(h, r.T) + d
            new = xp.tanh(z) if nonlinearity == "tanh" else xp.maximum(z, 0)
            h = _choose(xp, _present(lengths, t), new, h)
            states[:, t] = h
        return states, states

    def backward(
        grad: Array, states: Array, grads_out: GradsOut,
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any,
        *, nonlinearity: str, reverse: bool,
    ) -> list[Array | None]:  # fmt: skip
        slopes = 1 - states * states if nonlinearity == "tanh" else (states > 0).astype(x.dtype)
        dh = xp.zeros((x.shape[0], r.shape[1]), dtype=states.dtype)
        for t in _order(x, not reverse):
            dh, present = dh + grad[:, t], _present(lengths, t)
            slopes[:, t] *= dh if present is None else dh * present
            dh = _choose(xp, present, xp.dot(slopes[:, t], r), dh)
        before = states_before(xp, states, start(xp, x, r, h0), reverse)
        return [
            *weight_gradients(xp, grads_out, slopes, slopes, within(xp, x, lengths), before, w),
            dh,
            None,
        ]

    return KernelPair(forward, backward)
