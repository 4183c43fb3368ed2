"""Scaled dot-product attention, head by head.

The weights (B, H, T, S) are never in memory as a whole: a thread computes those of a block of
queries, and the backward pass computes them again from the scores, their largest and the sum of
their exponentials, the only things that are kept (Dao et al., 2022, keep the logsumexp on GPUs, but
that has few digits left where scores are large).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    at,
    bytes1,
    integer,
    is_absent,
    kernel,
    number,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm_tile import LANES, multiply

__all__ = ["BLOCK", "attention_backward", "attention_forward"]

BLOCK = 64  #: queries at a time: with 64 keys their scores and the keys fit the L1 cache

f4, i4 = np.float32, np.int32
ZERO, ONE, HIDDEN, NAN = f4(0.0), f4(1.0), f4(-1e30), f4(np.nan)

# Arguments of both kernels: q, k, v; mask, factor, scale; H, T, S, D, E, whether q, k and v are one
# array, whether the future is hidden; how far batches, heads and queries of the mask are apart;
# largest and 1 / sum (B · H · T, 2), workspace, how much of it is a chunk's, address of `multiply`.
# Then y, or g, dq, dk and dv.
KEPT, WORK, SHARE, TILE, MORE = 16, 17, 18, 19, 20


@njit
def sizes(t):
    """``H, T, S, D, E``."""
    return integer(t, 6), integer(t, 7), integer(t, 8), integer(t, 9), integer(t, 10)


@njit
def strides(t):
    """How far positions of q, k and v are apart."""
    H, D, E = integer(t, 6), integer(t, 9), integer(t, 10)
    return (3 * H * D, 3 * H * D, 3 * H * D) if integer(t, 11) else (H * D, H * D, H * E)


@njit
def heads(t, first, item):
    """Where the item's head is in q, k and v (or their gradients), from argument ``first`` on."""
    H, T, S, D, E = sizes(t)
    b, h = item // H, item % H
    if integer(t, 11):
        q = address(t, first) + 4 * (b * T * 3 * H + h) * D
        return q, q + 4 * H * D, q + 8 * H * D
    q = address(t, first) + 4 * (b * T * H + h) * D
    k = address(t, first + 1) + 4 * (b * S * H + h) * D
    return q, k, address(t, first + 2) + 4 * (b * S * H + h) * E


@njit
def are_finite(x, stride, rows, columns):
    """Whether all numbers of a matrix are."""
    source, total = at(x, (rows - 1) * stride + columns), ZERO
    for i in range(rows):
        line = source[i * stride : i * stride + columns]
        for j in range(line.size):
            total += line[j] * ZERO  # NaN, unless the number is finite
    return total == ZERO


@njit
def finite(x, stride, rows, columns, to):
    """Copy a matrix, with 0 in place of what is not finite: weights of 0 would make NaN of it."""
    source, target = at(x, (rows - 1) * stride + columns), at(to, rows * columns)
    for i in range(rows):
        line, own = source[i * stride : i * stride + columns], target[i * columns :]
        for j in range(line.size):
            own[j] = line[j] if line[j] * ZERO == ZERO else ZERO


@njit
def spoil(weights, P, n, keys, v, stride, E, y, y_stride):
    """Make NaN of the results of queries that see a value that is not finite."""
    for j in range(keys):
        if not are_finite(v + 4 * j * stride, stride, 1, E):
            for i in range(n):
                if at(weights + 4 * i * P, keys)[j] != ZERO:
                    line = at(y + 4 * i * y_stride, E)
                    for e in range(line.size):
                        line[e] = NAN


@njit
def up(n):
    """``n`` rounded up to whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@njit
def transposed(x, stride, rows, columns, to, factor):
    """``factor xᵀ``, with rows padded to whole vectors."""
    P = up(rows)
    target, source = at(to, columns * P), at(x, (rows - 1) * stride + columns)
    for i in range(rows):
        line = source[i * stride : i * stride + columns]
        for j in range(line.size):
            target[j * P + i] = line[j] * factor
    for j in range(columns):
        for i in range(rows, P):
            target[j * P + i] = ZERO


@njit
def seen(t, query):
    """How many keys come before the future of a query."""
    T, S = integer(t, 7), integer(t, 8)
    return max(0, min(S, query + S - T + 1)) if integer(t, 12) else S


@njit
def hides(t):
    """Whether a weight can be 0 because its key is hidden or dropped."""
    return integer(t, 12) or not is_absent(t, 3) or not is_absent(t, 4)


@njit
def hide(t, item, query, scores, value):
    """Put a value where the mask forbids."""
    if is_absent(t, 3):
        return
    H, S = integer(t, 6), integer(t, 8)
    start = item // H * integer(t, 13) + item % H * integer(t, 14) + query * integer(t, 15)
    allowed = bytes1(t, 3)[start : start + S]
    for j in range(scores.size):
        scores[j] = scores[j] if allowed[j] else value


@njit
def factors(t, item, query, n):
    """By what to multiply the weights of a query for its first n keys."""
    T, S = integer(t, 7), integer(t, 8)
    return at(address(t, 4) + 4 * (item * T + query) * S, n)


@njit
def rest(line, n):
    """Set a line to 0 from n on: what a query must not see."""
    hidden = line[n:]
    for j in range(hidden.size):
        hidden[j] = ZERO


@njit
def times(x, y):
    for j in range(x.size):
        x[j] *= y[j]


@njit
def softmax(x, kept):
    """In place; keep the largest score, and by what the exponentials were multiplied."""
    top = i4(-(2**31))
    for j in range(x.size):
        bits = fn.bits_of(x[j])
        top = bits if bits > top else top
    peak, total = fn.float_of(top), ZERO
    for j in range(x.size):
        x[j] = fn.exp_of_negative(x[j] - peak)
        total += x[j]
    scale = ONE / total
    for j in range(x.size):
        x[j] *= scale
    kept[0], kept[1] = peak, scale


@kernel
def attention_forward(t, chunk, start, stop):
    """Some heads: y, and what is kept of all scores."""
    H, T, S, D, E = sizes(t)
    tile, P, (q_stride, k_stride, v_stride) = integer(t, TILE), up(S), strides(t)
    keys_t = address(t, WORK) + 4 * chunk * integer(t, SHARE)
    values = keys_t + 4 * D * P  # of a head of which some are not finite
    scores, kept = values + 4 * E * P, address(t, KEPT)
    for item in range(start, stop):
        q, k, v = heads(t, 0, item)
        spoilt = hides(t) and not are_finite(v, v_stride, S, E)
        if spoilt:
            finite(v, v_stride, S, E, values)
        y = address(t, MORE) + 4 * (item // H * T * H + item % H) * E
        transposed(k, k_stride, S, D, keys_t, number(t, 5))
        for first in range(0, T, BLOCK):
            last = min(first + BLOCK, T)
            n, keys = last - first, seen(t, last - 1)
            multiply(
                tile, n, up(keys), D, q + 4 * first * q_stride, q_stride, 1, keys_t, P, scores, P, 0
            )
            for i in range(n):
                line, own = at(scores + 4 * i * P, keys), seen(t, first + i)
                weights = line[:own]
                hide(t, item, first + i, weights, HIDDEN)
                softmax(weights, at(kept + 8 * (item * T + first + i), 2))
                hide(t, item, first + i, weights, ZERO)
                if not is_absent(t, 4):
                    times(weights, factors(t, item, first + i, own))
                rest(line, own)
            place, step = (values, E) if spoilt else (v, v_stride)
            multiply(tile, n, E, keys, scores, P, 1, place, step, y + 4 * first * H * E, H * E, 0)
            if spoilt:
                spoil(scores, P, n, keys, v, v_stride, E, y + 4 * first * H * E, H * E)


@kernel
def attention_backward(t, chunk, start, stop):
    """Some heads: gradients by q, k and v."""
    H, T, S, D, E = sizes(t)
    tile, P, (q_stride, k_stride, v_stride) = integer(t, TILE), up(S), strides(t)
    keys_t = address(t, WORK) + 4 * chunk * integer(t, SHARE)
    values_t = keys_t + 4 * D * P
    weights = values_t + 4 * E * P
    slopes = weights + 4 * BLOCK * P
    finite_k = slopes + 4 * BLOCK * P  # of a head of which some are not finite
    for item in range(start, stop):
        q, k, v = heads(t, 0, item)
        dq, dk, dv = heads(t, MORE + 1, item)
        g = address(t, MORE) + 4 * (item // H * T * H + item % H) * E
        transposed(k, k_stride, S, D, keys_t, number(t, 5))
        transposed(v, v_stride, S, E, values_t, ONE)
        place, step = k, k_stride
        if hides(t):  # what is hidden must not make NaN of a slope of 0
            finite(values_t, P, E, P, values_t)
            if not are_finite(k, k_stride, S, D):
                finite(k, k_stride, S, D, finite_k)
                place, step = finite_k, D
        for i in range(S):
            rest(at(dk + 4 * i * k_stride, D), 0)
            rest(at(dv + 4 * i * v_stride, E), 0)
        for first in range(0, T, BLOCK):
            last = min(first + BLOCK, T)
            n, keys = last - first, seen(t, last - 1)
            q_block, g_block = q + 4 * first * q_stride, g + 4 * first * H * E
            multiply(tile, n, up(keys), D, q_block, q_stride, 1, keys_t, P, weights, P, 0)
            multiply(tile, n, up(keys), E, g_block, H * E, 1, values_t, P, slopes, P, 0)
            for i in range(n):
                back(
                    t, item, first + i, at(weights + 4 * i * P, keys), at(slopes + 4 * i * P, keys)
                )
            multiply(tile, keys, E, n, weights, 1, P, g_block, H * E, dv, v_stride, 1)
            multiply(tile, keys, D, n, slopes, 1, P, q_block, q_stride, dk, k_stride, 1)
            multiply(
                tile, n, D, keys, slopes, P, 1, place, step, dq + 4 * first * q_stride, q_stride, 0
            )


@njit
def back(t, item, query, line, slopes):
    """Of one query: scores become weights (times factors), slopes by those become by q k."""
    own, scale = seen(t, query), number(t, 5)
    w, d = line[:own], slopes[:own]
    hide(t, item, query, w, HIDDEN)
    kept = at(address(t, KEPT) + 8 * (item * integer(t, 7) + query), 2)
    peak, factor = kept[0], kept[1]
    for j in range(w.size):
        w[j] = fn.exp_of_negative(w[j] - peak) * factor
    hide(t, item, query, w, ZERO)
    if not is_absent(t, 4):
        times(d, factors(t, item, query, own))
    total = ZERO
    for j in range(w.size):
        total += w[j] * d[j]
    for j in range(d.size):
        d[j] = w[j] * (d[j] - total) * scale
    if not is_absent(t, 4):
        times(w, factors(t, item, query, own))
    rest(line, own)
    rest(slopes, own)
