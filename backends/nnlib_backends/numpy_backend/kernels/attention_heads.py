"""Scaled dot-product attention, head by head.

The weights (B, H, T, S) are never in memory as a whole: a thread computes them for a block of
queries, and the backward pass computes them again from the largest score of each query and the sum
of exponentials, which are saved (Dao et al., 2022, save the logsumexp, which loses digits where
scores are large).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import (
    Bytes,
    Matrix,
    Nullable,
    Quad,
    Vector,
    address,
    is_given,
    kernel,
    view,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import multiply
from nnlib_backends.numpy_backend.codegen.simd import LANES

__all__ = ["BLOCK", "Sizes", "attention_backward", "attention_forward"]

BLOCK = 64  #: queries at a time: with 64 keys their scores and the keys fit the L1 cache

f4, i4 = np.float32, np.int32
ZERO, ONE, HIDDEN, NAN = f4(0.0), f4(1.0), f4(-1e30), f4(np.nan)


class Sizes(NamedTuple):
    """Sizes of one call, and the layout of q, k, v and the mask.

    Attributes
    ----------
    H, T, S, D, E : int
        Numbers of heads, queries and keys; features of a query and of a value.
    packed, causal : int
        Whether q, k and v are one array (B, T, 3, H, D); whether attention is causal.
    mask_batch, mask_head, mask_query : int
        Strides of the mask, in numbers.
    """

    H: int
    T: int
    S: int
    D: int
    E: int
    packed: int
    causal: int
    mask_batch: int
    mask_head: int
    mask_query: int


@njit
def strides(sizes):
    """Return the strides of positions in q, k and v."""
    H, D = sizes.H, sizes.D
    return (3 * H * D, 3 * H * D, 3 * H * D) if sizes.packed else (H * D, H * D, H * sizes.E)


@njit
def heads(sizes, item):
    """Return the first elements of an item's head in q, k and v, and in their gradients."""
    H, T, S, D = sizes.H, sizes.T, sizes.S, sizes.D
    b, h = item // H, item % H
    if sizes.packed:
        q = (b * T * 3 * H + h) * D
        return q, q + H * D, q + 2 * H * D
    return (b * T * H + h) * D, (b * S * H + h) * D, (b * S * H + h) * sizes.E


@njit
def are_finite(x, first, stride, rows, columns):
    """Return whether all numbers of a matrix, which begins at element ``first``, are finite."""
    source, total = view(x, first, (rows - 1) * stride + columns), ZERO
    for i in range(rows):
        line = source[i * stride : i * stride + columns]
        for j in range(line.size):
            total += line[j] * ZERO  # NaN, unless the number is finite
    return total == ZERO


@njit
def finite(x, first, stride, rows, columns, to):
    """Copy a matrix with 0 for infinities and NaN, because a weight of 0 times them is NaN."""
    source = view(x, first, (rows - 1) * stride + columns)
    for i in range(rows):
        line, own = source[i * stride : i * stride + columns], to[i * columns :]
        for j in range(line.size):
            own[j] = line[j] if line[j] * ZERO == ZERO else ZERO


@njit
def spoil(weights, P, n, keys, v, first, stride, E, y, place, y_stride):
    """Set the results of queries that see a non-finite value to NaN."""
    for j in range(keys):
        if not are_finite(v, first + j * stride, stride, 1, E):
            for i in range(n):
                if weights[i * P + j] != ZERO:
                    line = view(y, place + i * y_stride, E)
                    for e in range(line.size):
                        line[e] = NAN


@njit
def up(n):
    """``n`` rounded up to whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@njit
def transposed(x, first, stride, rows, columns, target, factor):
    """``factor xᵀ``, with rows padded to whole vectors."""
    P, source = up(rows), view(x, first, (rows - 1) * stride + columns)
    for i in range(rows):
        line = source[i * stride : i * stride + columns]
        for j in range(line.size):
            target[j * P + i] = line[j] * factor
    for j in range(columns):
        for i in range(rows, P):
            target[j * P + i] = ZERO


@njit
def seen(sizes, query):
    """Return the number of keys that causality leaves visible to a query."""
    S = sizes.S
    return max(0, min(S, query + S - sizes.T + 1)) if sizes.causal else S


@njit
def hides(sizes, mask, factor):
    """Return whether a key can be hidden or dropped."""
    return sizes.causal or is_given(mask) or is_given(factor)


@njit
def hide(sizes, mask, item, query, scores, value):
    """Set the scores of masked keys to a value."""
    if not is_given(mask):
        return
    start = item // sizes.H * sizes.mask_batch + item % sizes.H * sizes.mask_head
    start += query * sizes.mask_query
    allowed = mask[start : start + sizes.S]
    for j in range(scores.size):
        scores[j] = scores[j] if allowed[j] else value


@njit
def rest(line, n):
    """Set a line to 0 from n on."""
    hidden = line[n:]
    for j in range(hidden.size):
        hidden[j] = ZERO


@njit
def times(x, y):
    for j in range(x.size):
        x[j] *= y[j]


@njit
def softmax(x, kept):
    """Softmax in place; keep the largest score, and 1 / sum of the exponentials."""
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
def attention_forward(
    chunk, start, stop, q: Vector, k: Vector, v: Vector, mask: Nullable[Bytes],
    factor: Nullable[Vector], scale: float, sizes: Sizes, kept: Matrix, work: Vector, share: int,
    tile: int, y: Quad,
):  # fmt: skip
    """Heads ``start … stop`` of y (B, T, H, E); kept are largest score and 1 / sum, (B · H · T, 2).

    Each chunk has ``share`` numbers of the workspace.
    """
    H, T, S, D, E = sizes.H, sizes.T, sizes.S, sizes.D, sizes.E
    P, (q_stride, k_stride, v_stride) = up(S), strides(sizes)
    keys_t = work[chunk * share :]
    values = keys_t[D * P :]  # with 0 for non-finite values of a head
    scores = values[E * P :]
    for item in range(start, stop):
        q_head, k_head, v_head = heads(sizes, item)
        spoilt = hides(sizes, mask, factor) and not are_finite(v, v_head, v_stride, S, E)
        if spoilt:
            finite(v, v_head, v_stride, S, E, values)
        out = (item // H * T * H + item % H) * E
        transposed(k, k_head, k_stride, S, D, keys_t, scale)
        for first in range(0, T, BLOCK):
            last = min(first + BLOCK, T)
            n, keys, place = last - first, seen(sizes, last - 1), out + first * H * E
            multiply(
                tile, n, up(keys), D, address(q, q_head + first * q_stride), q_stride, 1,
                address(keys_t, 0), P, address(scores, 0), P, 0,
            )  # fmt: skip
            for i in range(n):
                line, own = scores[i * P : i * P + keys], seen(sizes, first + i)
                weights = line[:own]
                hide(sizes, mask, item, first + i, weights, HIDDEN)
                softmax(weights, kept[item * T + first + i])
                hide(sizes, mask, item, first + i, weights, ZERO)
                if is_given(factor):
                    times(weights, view(factor, (item * T + first + i) * S, own))
                rest(line, own)
            multiply(
                tile, n, E, keys, address(scores, 0), P, 1,
                address(values, 0) if spoilt else address(v, v_head), E if spoilt else v_stride,
                address(y, place), H * E, 0,
            )  # fmt: skip
            if spoilt:
                spoil(scores, P, n, keys, v, v_head, v_stride, E, y, place, H * E)


@kernel
def attention_backward(
    chunk, start, stop, q: Vector, k: Vector, v: Vector, mask: Nullable[Bytes],
    factor: Nullable[Vector], scale: float, sizes: Sizes, kept: Matrix, work: Vector, share: int,
    tile: int, g: Quad, dq: Vector, dk: Vector, dv: Vector,
):  # fmt: skip
    """Heads ``start … stop`` of the gradients by q, k and v; otherwise as `attention_forward`."""
    H, T, S, D, E = sizes.H, sizes.T, sizes.S, sizes.D, sizes.E
    P, (q_stride, k_stride, v_stride) = up(S), strides(sizes)
    keys_t = work[chunk * share :]
    values_t = keys_t[D * P :]
    weights = values_t[E * P :]
    slopes = weights[BLOCK * P :]
    finite_k = slopes[BLOCK * P :]  # with 0 for non-finite values of a head
    for item in range(start, stop):
        q_head, k_head, v_head = heads(sizes, item)
        up_head = (item // H * T * H + item % H) * E
        transposed(k, k_head, k_stride, S, D, keys_t, scale)
        transposed(v, v_head, v_stride, S, E, values_t, ONE)
        place, step = address(k, k_head), k_stride
        if hides(sizes, mask, factor):  # a hidden infinity times a slope of 0 would be NaN
            finite(values_t, 0, P, E, P, values_t)
            if not are_finite(k, k_head, k_stride, S, D):
                finite(k, k_head, k_stride, S, D, finite_k)
                place, step = address(finite_k, 0), D
        for i in range(S):
            rest(view(dk, k_head + i * k_stride, D), 0)
            rest(view(dv, v_head + i * v_stride, E), 0)
        for first in range(0, T, BLOCK):
            last = min(first + BLOCK, T)
            n, keys = last - first, seen(sizes, last - 1)
            q_block = address(q, q_head + first * q_stride)
            g_block = address(g, up_head + first * H * E)
            w, d = address(weights, 0), address(slopes, 0)
            multiply(tile, n, up(keys), D, q_block, q_stride, 1, address(keys_t, 0), P, w, P, 0)
            multiply(tile, n, up(keys), E, g_block, H * E, 1, address(values_t, 0), P, d, P, 0)
            for i in range(n):
                query, own = first + i, seen(sizes, first + i)
                line, slope = weights[i * P : i * P + keys], slopes[i * P : i * P + keys]
                row = item * T + query
                hide(sizes, mask, item, query, line[:own], HIDDEN)
                exponentiate(line[:own], kept[row])
                hide(sizes, mask, item, query, line[:own], ZERO)
                if is_given(factor):
                    times(slope[:own], view(factor, row * S, own))
                slopes_of_scores(line[:own], slope[:own], scale)
                if is_given(factor):
                    times(line[:own], view(factor, row * S, own))
                rest(line, own)
                rest(slope, own)
            multiply(tile, keys, E, n, w, 1, P, g_block, H * E, address(dv, v_head), v_stride, 1)
            multiply(tile, keys, D, n, d, 1, P, q_block, q_stride, address(dk, k_head), k_stride, 1)
            multiply(
                tile, n, D, keys, d, P, 1, place, step, address(dq, q_head + first * q_stride),
                q_stride, 0,
            )  # fmt: skip


@njit
def exponentiate(scores, kept):
    """Replace scores by weights, given the largest score and 1 / sum."""
    peak, factor = kept[0], kept[1]
    for j in range(scores.size):
        scores[j] = fn.exp_of_negative(scores[j] - peak) * factor


@njit
def slopes_of_scores(weights, slopes, scale):
    """Replace the gradients by a query's weights by those by its scores."""
    total = ZERO
    for j in range(weights.size):
        total += weights[j] * slopes[j]
    for j in range(slopes.size):
        slopes[j] = weights[j] * (slopes[j] - total) * scale
