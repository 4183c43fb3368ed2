"""The filters of a 3×3 convolution, transformed by Winograd's F(4×4, 3×3)."""

from __future__ import annotations

from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import address, integer, kernel, quad
from nnlib_backends.numpy_backend.codegen.gemm import PANEL, PANEL_BYTES
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    LANES,
    load_some,
    store,
    transpose,
)
from nnlib_backends.numpy_backend.kernels.conv.winograd_transforms import SCRATCH, transform_filter

__all__ = ["FILTER_SCRATCH", "MATRIX", "lanes_in", "transform_panel", "winograd_filters"]

# A matrix of one panel by another, with a row more than needed: 36 of them, which are written
# together, would otherwise compete for few places of the cache.
MATRIX = (PANEL + 1) * PANEL_BYTES
FILTER_SCRATCH = SCRATCH + 10 * LANES * BYTES


@njit
def lanes_in(channels, first):
    """How many of a vector's lanes, from channel ``first``, are channels."""
    return min(max(channels - first, 0), LANES)


@njit
def transform_panel(source, filters, channels, turned, panel, target, scratch):
    """Transform filters, (O, 3, 3, C), for one panel of outputs: (inputs, 36, PANEL + 1, PANEL).

    The inputs are in blocks of PANEL, as transformed tiles have them.

    Turned, they are for the gradient: the inputs are O, the outputs are C.
    """
    inputs = filters if turned else channels
    for half in range(2):
        first = panel * PANEL + half * LANES
        for k in range(0, -(-inputs // PANEL) * PANEL, LANES):
            place = target + k // PANEL * 36 * MATRIX + k % PANEL * PANEL_BYTES + half * BYTES
            if turned:
                _rows(source, filters, channels, k, first, place, scratch)
            else:
                _columns(source, filters, channels, k, first, place, scratch)


@njit
def _rows(source, filters, channels, k, first, place, scratch):
    """Turned filters: vectors of channels, as they lie."""
    count = lanes_in(channels, first)
    for p in range(k, k + LANES):
        row = source + 4 * (9 * channels * p + first)
        some = count if p < filters else 0
        transform_filter(row, 4 * channels, some, True, place, MATRIX, scratch)
        place += PANEL_BYTES


@njit
def _columns(source, filters, channels, k, first, place, scratch):
    """Filters as they are: vectors of filters, transposed first, tap by tap."""
    count, length = lanes_in(filters, first), lanes_in(channels, k)
    row, copy = 36 * channels, scratch + SCRATCH + 9 * LANES * BYTES
    for tap in range(9):
        p = source + 4 * (9 * channels * first + tap * channels + k)
        q = scratch + SCRATCH + tap * LANES * BYTES
        if count == LANES and length == LANES:
            transpose(p, row, q, BYTES)
        else:
            for i in range(LANES):
                store(copy + i * BYTES, load_some(p + i * row, length if i < count else 0))
            transpose(copy, BYTES, q, BYTES)
    for p in range(LANES):
        row = scratch + SCRATCH + p * BYTES
        transform_filter(row, LANES * BYTES, LANES, False, place, MATRIX, scratch)
        place += PANEL_BYTES


@kernel
def winograd_filters(t, chunk, start, stop):
    """Panels ``start … stop`` of the transformed filters."""
    weight, filters, scratch = quad(t, 0), quad(t, 1), address(t, 3) + chunk * FILTER_SCRATCH
    for panel in range(start, stop):
        transform_panel(
            address(t, 0), weight.shape[0], weight.shape[3], integer(t, 2) != 0, panel,
            address(t, 1) + panel * filters.shape[1] * MATRIX, scratch,
        )  # fmt: skip
