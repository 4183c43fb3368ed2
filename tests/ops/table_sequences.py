"""Rows of recurrent networks and attention: one sequence, one step, one query at a time."""

import numpy as np
from ops.table import Row, booleans, case, floats, integers, sample_cases
from scipy import special

from nnlib import ops

sigmoid, tanh = special.expit, np.tanh


def scan(cell, x, states, lengths, reverse):
    """Call ``cell(x, states) -> states`` step by step; return every state after every step."""
    B, T = x.shape[:2]
    out = [np.zeros((B, T, state.shape[1])) for state in states]
    for b in range(B):
        now = [state[b] for state in states]
        for t in reversed(range(T)) if reverse else range(T):
            if lengths is None or t < lengths[b]:
                now = cell(x[b, t], *now)
            for place, state in zip(out, now, strict=True):
                place[b, t] = state
    return out


def zeros(x, weight_hh, *states):
    return [np.zeros((len(x), weight_hh.shape[1])) if s is None else s for s in states]


def lstm(x, w, r, b=None, d=None, h0=None, c0=None, lengths=None, peepholes=None, reverse=False):
    p = np.zeros(3 * r.shape[1]) if peepholes is None else peepholes

    def cell(x, h, c):
        i, f, g, o = np.split(w @ x + r @ h + (0 if b is None else b) + (0 if d is None else d), 4)
        pi, pf, po = np.split(p, 3)
        c_new = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * tanh(g)
        return sigmoid(o + po * c_new) * tanh(c_new), c_new

    return np.stack(scan(cell, x, zeros(x, r, h0, c0), lengths, reverse))


def gru(x, w, r, b=None, d=None, h0=None, lengths=None, reverse=False):
    def cell(x, h):
        xr, xz, xn = np.split(w @ x + (0 if b is None else b), 3)
        hr, hz, hn = np.split(r @ h + (0 if d is None else d), 3)
        z = sigmoid(xz + hz)
        return ((1 - z) * tanh(xn + sigmoid(xr + hr) * hn) + z * h,)

    return scan(cell, x, zeros(x, r, h0), lengths, reverse)[0]


def rnn(x, w, r, b=None, d=None, h0=None, lengths=None, nonlinearity="tanh", reverse=False):
    squash = tanh if nonlinearity == "tanh" else lambda z: np.maximum(z, 0)

    def cell(x, h):
        return (squash(w @ x + r @ h + (0 if b is None else b) + (0 if d is None else d)),)

    return scan(cell, x, zeros(x, r, h0), lengths, reverse)[0]


def hide_future(scores, value=-np.inf):
    out, (queries, keys) = scores.copy(), scores.shape[-2:]
    for i, j in np.ndindex(queries, keys):
        if j > i + keys - queries:
            out[..., i, j] = value
    return out


def attention(q, k, v, mask=None, factor=None, causal=False, scale=None):
    B, T, H, D = q.shape
    S, out = k.shape[1], np.zeros((B, T, H, v.shape[3]))
    shape = (B, H, T, S)
    visible, added = np.ones(shape, bool), np.zeros(shape)
    if mask is not None and mask.dtype.kind == "f":
        added = np.broadcast_to(mask, shape)
    elif mask is not None:
        visible = np.broadcast_to(mask, shape).astype(bool)
    factors = np.ones(shape) if factor is None else np.broadcast_to(factor, shape)
    for b, t, h in np.ndindex(B, T, H):
        seen = [s for s in range(S) if visible[b, h, t, s] and (not causal or s <= t + S - T)]
        if seen:
            scores = (
                k[b, seen, h] @ q[b, t, h] * (D**-0.5 if scale is None else scale)
                + added[b, h, t, seen]
            )
            out[b, t, h] = (special.softmax(scores) * factors[b, h, t, seen]) @ v[b, seen, h]
    return out


def self_attention(qkv, mask=None, factor=None, **options):
    return attention(*np.moveaxis(qkv, 2, 0), mask, factor, **options)


STEPS = "sequences without steps or features, and weights that do not fit"
WEIGHTS = (floats(8, 2), floats(8, 2))

ROWS = [
    Row(ops.lstm, lstm, [
        *sample_cases(ops.lstm), case(floats(1, 3, 2), *WEIGHTS),
        case(floats(2, 2, 2), *WEIGHTS, None, floats(8), None, floats(2, 2), integers(3, 2), None),
        case(floats(2, 2, 2), *WEIGHTS, floats(8), None, floats(2, 2), None, None, floats(6)),
    ], refuses=STEPS),
    Row(ops.gru, gru, [
        *sample_cases(ops.gru), case(floats(1, 3, 2), floats(6, 2), floats(6, 2)),
        case(floats(2, 2, 2), floats(6, 2), floats(6, 2), None, floats(6)),
        case(floats(2, 2, 2), floats(6, 2), floats(6, 2), None, None, None, integers(3, 2)),
    ], refuses=STEPS),
    Row(ops.rnn, rnn, [
        *sample_cases(ops.rnn), case(floats(1, 3, 2), floats(3, 2), floats(3, 3)),
        case(floats(2, 2, 2), floats(3, 2), floats(3, 3), None, None, None, integers(3, 2)),
    ], 1, refuses=STEPS),
    Row(ops.hide_future, hide_future, [
        case(floats(2, 3, 3), value=1.5), case(floats(2, 4), value=0.0),
    ]),
    Row(ops.attention, attention, [
        *sample_cases(ops.attention),
        case(floats(1, 2, 1, 3), floats(1, 4, 1, 3), floats(1, 4, 1, 2), causal=True),
        case(*[floats(2, 3, 1, 2)] * 3, booleans(2, 1, 3, 3)),
        case(*[floats(2, 3, 1, 2)] * 3, scale=0.0),  # the mean of all
    ]),
    Row(ops.self_attention, self_attention, [*sample_cases(ops.self_attention)]),
]  # fmt: skip
