"""Activations of vectors, and their derivatives from the result.

For results that are activated where they lie: LLVM does not vectorise a loop that reads and writes
the same memory through two arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.launch import Array, launch, split
from nnlib_backends.numpy_backend.native.abi import address, integer, kernel
from nnlib_backends.numpy_backend.native.activation import CODES
from nnlib_backends.numpy_backend.native.vectors import (
    BYTES,
    LANES,
    clip,
    load,
    load_some,
    relu,
    splat,
    store,
    store_some,
)  # fmt: skip

__all__ = ["activate_all", "activate_in_place", "tanh"]

f4 = np.float32
RELU, TANH, SIGMOID = CODES["relu"], CODES["tanh"], CODES["sigmoid"]
ELEMENTS = 1 << 14  # least numbers of a chunk

# tanh(x) / x as a quotient of polynomials in x², for |x| ≤ 9.02, where tanh is 1; fitted by least
# squares with weights moved to where the error was largest: 2e-8, and 6 units in the last place
# once rounded
FLAT = f4(9.02)
P1, P2, P3, P4 = (f4(c) for c in (0.13379717, 0.003494034, 2.0583475e-05, 1.3319063e-08))
Q1, Q2, Q3, Q4 = (f4(c) for c in (0.46713033, 0.025871072, 0.00032830922, 7.762015e-07))


@njit
def tanh(x):
    """Hyperbolic tangent."""
    x = clip(x, -FLAT, FLAT)
    z = x * x
    above = splat(f4(1.0)) + z * (splat(P1) + z * (splat(P2) + z * (splat(P3) + z * splat(P4))))
    below = splat(f4(1.0)) + z * (splat(Q1) + z * (splat(Q2) + z * (splat(Q3) + z * splat(Q4))))
    return clip(x * above / below, f4(-1.0), f4(1.0))


@njit
def _activate(value, code):
    if code == RELU:
        value = relu(value)
    elif code == TANH:
        value = tanh(value)
    elif code == SIGMOID:
        half = splat(f4(0.5))
        value = half * tanh(half * value) + half
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
