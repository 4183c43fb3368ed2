"""Activations of vectors, and their derivatives from the result.

For results that are activated where they lie: LLVM does not vectorise a loop that reads and writes
the same memory through two arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import address, integer, kernel
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    LANES,
    absolute,
    larger,
    load,
    load_some,
    power_of_two,
    relu,
    splat,
    store,
    store_some,
    where_less,
    with_sign_of,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.activation import CODES
from nnlib_backends.numpy_backend.launch import Array, launch, split

__all__ = ["activate_all", "activate_in_place", "sigmoid", "tanh"]

f4 = np.float32
RELU, TANH, SIGMOID = CODES["relu"], CODES["tanh"], CODES["sigmoid"]
ELEMENTS = 1 << 14  # least numbers of a chunk

ZERO, ONE, TWO = f4(0.0), f4(1.0), f4(2.0)


@njit
def _exponential(x, rounding):
    """``2ⁿ`` and ``e ** f - 1`` with ``e ** x = 2ⁿ e ** f``; see `functions`."""
    rounded = x * splat(fn.LOG2_E) + splat(rounding)
    n = rounded - splat(rounding)
    f = (x - n * splat(fn.LN2_HIGH)) - n * splat(fn.LN2_LOW)
    q = splat(fn.E2) + f * (splat(fn.E3) + f * splat(fn.E4))
    return power_of_two(rounded), f + f * f * (splat(fn.E0) + f * (splat(fn.E1) + f * q))


@njit
def sigmoid(x):
    """``1 / (1 + e ** -x)``, the same as `functions.sigmoid`."""
    one, zero = splat(ONE), splat(ZERO)
    z = larger(zero - absolute(x), splat(fn.EXP_LOWEST))
    scale, p = _exponential(z, fn.ROUND_64)
    e = (one + p) * scale * splat(fn.DOWN_64)
    return where_less(x, zero, e, one) / (one + e)


@njit
def tanh(x):
    """Hyperbolic tangent, the same as `functions.tanh`.

    A quotient of polynomials makes a convolution up to a tenth faster, but of float32 numbers it is
    wrong by six units in the last place.
    """
    one, z = splat(ONE), larger(splat(-TWO) * absolute(x), splat(fn.TANH_FLAT))
    scale, p = _exponential(z, fn.ROUND)
    return with_sign_of(((one - scale) - scale * p) / ((one + scale) + scale * p), x)


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
