"""Activations of vectors, and their derivatives from the result.

For results that are activated where they lie: LLVM does not vectorise a loop that reads and writes
the same memory through two arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.launch import Array, launch, split
from nnlib_backends.numpy_backend.native import functions as fn
from nnlib_backends.numpy_backend.native.abi import address, integer, kernel
from nnlib_backends.numpy_backend.native.activation import CODES
from nnlib_backends.numpy_backend.native.vectors import (
    BYTES,
    LANES,
    clip,
    larger,
    load,
    load_some,
    power_of_two,
    relu,
    splat,
    store,
    store_some,
    where_less,
)  # fmt: skip

__all__ = ["activate_all", "activate_in_place", "sigmoid", "tanh"]

f4 = np.float32
RELU, TANH, SIGMOID = CODES["relu"], CODES["tanh"], CODES["sigmoid"]
ELEMENTS = 1 << 14  # least numbers of a chunk

ZERO, HALF, ONE = f4(0.0), f4(0.5), f4(1.0)


@njit
def _size(x):
    return larger(x, splat(ZERO) - x)


@njit
def _reduced(x):
    """``n`` and ``e ** f - 1`` with ``e ** x = 2ⁿ e ** f``; see `functions.exp`."""
    rounding = splat(fn.ROUND)
    n = (x * splat(fn.LOG2_E) + rounding) - rounding
    f = (x - n * splat(fn.LN2_HIGH)) - n * splat(fn.LN2_LOW)
    q = splat(fn.E2) + f * (splat(fn.E3) + f * splat(fn.E4))
    return n, f + f * f * (splat(fn.E0) + f * (splat(fn.E1) + f * q))


@njit
def sigmoid(x):
    """``1 / (1 + e ** -x)``, the same as `functions.sigmoid`."""
    one, rounding = splat(ONE), splat(fn.ROUND)
    n, p = _reduced(clip(splat(ZERO) - _size(x), fn.EXP_LOWEST, ZERO))
    first = n * splat(HALF) + rounding
    second = (n - (first - rounding)) + rounding
    e = (one + p) * power_of_two(first) * power_of_two(second)
    return where_less(x, splat(ZERO), e, one) / (one + e)


@njit
def tanh(x):
    """Hyperbolic tangent, the same as `functions.tanh`."""
    one, size = splat(ONE), _size(x)
    z = clip(splat(ZERO) - (size + size), fn.TANH_FLAT, ZERO)
    n, p = _reduced(z)
    scale = power_of_two(n + splat(fn.ROUND))
    e, less_one = scale * p + scale, scale * p + (scale - one)
    above = where_less(z, splat(-ONE), one - e, splat(ZERO) - less_one)
    y = above / (one + e)
    y = where_less(x, splat(ZERO), splat(ZERO) - y, y)
    return where_less(size, splat(fn.TANH_LINEAR), x, y)


@njit
def _activate(value, code):
    if code == RELU:
        value = relu(value)
    elif code == TANH:
        value = tanh(value)
    elif code == SIGMOID:
        value = sigmoid(value)
    return value


@njit
def activate_in_place(place, size, code):
    """Apply an activation to ``size`` numbers at an address."""
    whole = size // LANES * BYTES
    for k in range(0, whole, BYTES):
        store(place + k, _activate(load(place + k), code))
    rest = size % LANES
    if rest > 0:
        store_some(place + whole, _activate(load_some(place + whole, rest), code), rest)


@kernel
def activate_numbers(t, chunk, start, stop):
    """Numbers ``start … stop`` of an array."""
    activate_in_place(address(t, 0) + 4 * start, stop - start, integer(t, 1))


def activate_all(y: Array, activation: str) -> None:
    """Apply an activation to an array, in place."""
    launch(activate_numbers, y, CODES[activation], items=y.size, chunks=split(y.size, ELEMENTS))
