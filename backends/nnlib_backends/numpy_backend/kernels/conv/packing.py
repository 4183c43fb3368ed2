"""Filters in panels of output channels, as products read them."""

from __future__ import annotations

from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import address, cube, integer, kernel, quad
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    LANES,
    load_some,
    store,
    transpose,
)
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["pack", "panel_width"]


@kernel
def pack_filters(t, chunk, start, stop):
    """Panels ``start … stop`` of the filters, (groups * panels, taps * inputs + LANES, width)."""
    weight, packed, groups, turned = quad(t, 0), cube(t, 1), integer(t, 2), integer(t, 3)
    taps_y, tap_y, step_y = integer(t, 4), integer(t, 5), integer(t, 6)
    taps_x, tap_x, step_x = integer(t, 7), integer(t, 8), integer(t, 9)
    copy = address(t, 10) + chunk * LANES * BYTES
    filters, channels = weight.shape[0] // groups, weight.shape[3]
    taps, row = weight.shape[1] * weight.shape[2], packed.shape[2] * 4
    inputs, outputs = (filters, channels) if turned else (channels, filters)
    for panel in range(start, stop):
        group, first = divmod(panel, packed.shape[0] // groups)
        for half in range(0, row, BYTES):
            output = (first * row + half) // 4
            target = address(t, 1) + panel * packed.shape[1] * row + half
            for tap in range(taps_y * taps_x):
                y, x = tap_y + tap // taps_x * step_y, tap_x + tap % taps_x * step_x
                source = address(t, 0) + 4 * channels * (
                    group * filters * taps + y * weight.shape[2] + x
                )
                _pack(
                    source, channels, taps * channels * 4, inputs, outputs, output, turned,
                    target + tap * inputs * row, row, copy,
                )  # fmt: skip


@njit
def _pack(source, channels, filter_bytes, inputs, outputs, output, turned, target, row, copy):
    """One tap: ``inputs`` rows of one vector of outputs."""
    count = min(outputs - output, LANES)
    if turned:
        for k in range(inputs):
            store(target + k * row, load_some(source + k * filter_bytes + 4 * output, count))
        return
    for k in range(0, inputs, LANES):
        p = source + output * filter_bytes + 4 * k
        for i in range(LANES):
            some = inputs - k if i < count else 0
            store(copy + i * BYTES, load_some(p + i * filter_bytes, some))
        transpose(copy, BYTES, target + k * row, row)  # beyond the inputs, the next tap overwrites


def panel_width(outputs: int) -> int:
    """Columns of a panel: two vectors, or one if that is enough."""
    return LANES if outputs <= LANES else 2 * LANES


def pack(weight: Array, down: Axis, across: Axis, groups: int, *, turned: bool) -> Array:
    """Return the taps of two axes in panels: (groups * panels, taps * inputs + LANES, width)."""
    filters, channels = weight.shape[0] // groups, weight.shape[3]
    inputs, outputs = (filters, channels) if turned else (channels, filters)
    width, length = panel_width(outputs), down.taps * across.taps * inputs
    packed = empty((groups * -(-outputs // width), length + LANES, width))
    chunks = split(packed.shape[0], 1 + 4096 // max(length, 1))
    launch(
        pack_filters, weight, packed, groups, turned, down.taps, down.tap, down.tap_step,
        across.taps, across.tap, across.tap_step, empty(chunks * LANES * LANES),
        items=packed.shape[0], chunks=chunks,
    )  # fmt: skip
    return packed
