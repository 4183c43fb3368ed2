"""The filters of a 3×3 convolution, transformed by Winograd's F(4×4, 3×3)."""

from __future__ import annotations

from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import Quad, Vector, address, kernel
from nnlib_backends.numpy_backend.codegen.gemm import PANEL
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load_some,
    store,
    transpose,
)
from nnlib_backends.numpy_backend.kernels.conv.winograd_transforms import SCRATCH, transform_filter

__all__ = ["FILTER_SCRATCH", "MATRIX", "lanes_in", "transform_panel", "winograd_filters"]

# A matrix of one panel by another, with an extra row: otherwise the 36 matrices, which are written
# together, would share cache sets.
MATRIX = (PANEL + 1) * PANEL
FILTER_SCRATCH = SCRATCH + 10 * LANES * LANES


@njit
def lanes_in(channels, first):
    """Return how many lanes of a vector, from channel ``first`` on, are channels."""
    return min(max(channels - first, 0), LANES)


@njit
def transform_panel(weight, turned, panel, target, scratch):
    """Transform filters, (O, 3, 3, C), for one panel of outputs: (inputs, 36, PANEL + 1, PANEL).

    ``target`` and ``scratch`` are addresses.  The inputs are in blocks of PANEL, as transformed
    tiles have them.

    Turned, they are for the gradient: the inputs are O, the outputs are C.
    """
    inputs = weight.shape[0] if turned else weight.shape[3]
    for half in range(2):
        output = panel * PANEL + half * LANES
        for k in range(0, -(-inputs // PANEL) * PANEL, LANES):
            to = k // PANEL * 36 * MATRIX + k % PANEL * PANEL + half * LANES
            if turned:
                _rows(weight, k, output, target, to, scratch)
            else:
                _columns(weight, k, output, target, to, scratch)


@njit
def _rows(weight, k, output, target, to, scratch):
    """Transform turned filters, whose vectors of channels are contiguous."""
    filters, channels = weight.shape[0], weight.shape[3]
    count = lanes_in(channels, output)
    for p in range(k, k + LANES):
        first, some = 9 * channels * p + output, count if p < filters else 0
        transform_filter(weight, first, channels, some, True, target, to, MATRIX, scratch)
        to += PANEL


@njit
def _columns(weight, k, output, target, to, scratch):
    """Transform filters that are not turned, after a transposition tap by tap."""
    channels = weight.shape[3]
    count, length = lanes_in(weight.shape[0], output), lanes_in(channels, k)
    row, copy = 9 * channels, SCRATCH + 9 * LANES * LANES
    for tap in range(9):
        p = 9 * channels * output + tap * channels + k
        q = SCRATCH + tap * LANES * LANES
        if count == LANES and length == LANES:
            transpose(weight, p, row, scratch, q, LANES)
        else:
            for i in range(LANES):
                value = load_some(weight, p + i * row, length if i < count else 0)
                store(scratch, copy + i * LANES, value)
            transpose(scratch, copy, LANES, scratch, q, LANES)
    for p in range(LANES):
        first = SCRATCH + p * LANES
        transform_filter(scratch, first, LANES * LANES, LANES, False, target, to, MATRIX, scratch)
        to += PANEL


@kernel
def winograd_filters(chunk, start, stop, weight: Quad, filters: Quad, turned: int, scratch: Vector):
    """Panels ``start … stop`` of the transformed filters, (O, inputs · 36, PANEL + 1, PANEL)."""
    own = address(scratch, chunk * FILTER_SCRATCH)
    for panel in range(start, stop):
        target = address(filters, panel * filters.shape[1] * MATRIX)
        transform_panel(weight, turned, panel, target, own)
