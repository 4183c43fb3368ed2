"""Activations in place, by vectors, because LLVM does not vectorise ``f(x, y)`` with y = x."""

from __future__ import annotations

from numba import njit

from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import Vector, kernel
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load,
    load_some,
    relu,
    store,
    store_some,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.activation import CODES
from nnlib_backends.numpy_backend.launch import Array, launch, split

__all__ = ["activate_all", "activate_in_place"]

RELU, TANH, SIGMOID = CODES["relu"], CODES["tanh"], CODES["sigmoid"]
ELEMENTS = 1 << 14  # numbers of a chunk, at least


@njit
def _activate(value, code):
    if code == RELU:
        value = relu(value)
    elif code == TANH:
        value = fn.tanh(value)
    elif code == SIGMOID:
        value = fn.sigmoid(value)
    return value


@njit
def activate_in_place(y, first, size, code):
    """Apply an activation to ``size`` numbers of an array, from ``first`` on."""
    whole = first + size // LANES * LANES
    for k in range(first, whole, LANES):
        store(y, k, _activate(load(y, k), code))
    rest = size % LANES
    if rest > 0:
        store_some(y, whole, _activate(load_some(y, whole, rest), code), rest)


@kernel
def activate_numbers(chunk, start, stop, y: Vector, code: int):
    """Activate numbers ``start … stop`` of an array."""
    activate_in_place(y, start, stop - start, code)


def activate_all(y: Array, activation: str) -> None:
    """Apply an activation to an array, in place."""
    launch(activate_numbers, y, CODES[activation], items=y.size, chunks=split(y.size, ELEMENTS))
