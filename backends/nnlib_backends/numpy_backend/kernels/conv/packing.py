"""Packing filters in panels of output channels."""

from __future__ import annotations

from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import Cube, Quad, Vector, kernel
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load_some,
    store,
    transpose,
)
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["pack", "panel_width"]


@kernel
def pack_filters(
    chunk, start, stop, weight: Quad, packed: Cube, groups: int, turned: int, down: Axis,
    across: Axis, scratch: Vector,
):  # fmt: skip
    """Panels ``start … stop`` of the filters, (groups * panels, taps * inputs + LANES, width)."""
    copy = scratch[chunk * LANES * LANES : (chunk + 1) * LANES * LANES]
    filters, channels = weight.shape[0] // groups, weight.shape[3]
    taps, width = weight.shape[1] * weight.shape[2], packed.shape[2]
    inputs, outputs = (filters, channels) if turned else (channels, filters)
    for panel in range(start, stop):
        group, first = divmod(panel, packed.shape[0] // groups)
        for half in range(0, width, LANES):
            target = panel * packed.shape[1] * width + half
            for tap in range(down.taps * across.taps):
                y = down.tap + tap // across.taps * down.tap_step
                x = across.tap + tap % across.taps * across.tap_step
                source = (group * filters * taps + y * weight.shape[2] + x) * channels
                _pack(
                    weight, source, taps * channels, inputs, outputs, first * width + half, turned,
                    packed, target + tap * inputs * width, width, copy,
                )  # fmt: skip


@njit
def _pack(weight, source, filter_size, inputs, outputs, output, turned, packed, target, row, copy):
    """Pack one tap: ``inputs`` rows of one vector of outputs."""
    count = min(outputs - output, LANES)
    if turned:
        for k in range(inputs):
            value = load_some(weight, source + k * filter_size + output, count)
            store(packed, target + k * row, value)
        return
    for k in range(0, inputs, LANES):
        p = source + output * filter_size + k
        for i in range(LANES):
            some = inputs - k if i < count else 0
            store(copy, i * LANES, load_some(weight, p + i * filter_size, some))
        # the next tap overwrites what is beyond the inputs
        transpose(copy, 0, LANES, packed, target + k * row, row)


def panel_width(outputs: int) -> int:
    """Return the columns of a panel: two vectors, or one if that is enough."""
    return LANES if outputs <= LANES else 2 * LANES


def pack(weight: Array, down: Axis, across: Axis, groups: int, *, turned: bool) -> Array:
    """Return the taps of two axes in panels: (groups * panels, taps * inputs + LANES, width)."""
    filters, channels = weight.shape[0] // groups, weight.shape[3]
    inputs, outputs = (filters, channels) if turned else (channels, filters)
    width, length = panel_width(outputs), down.taps * across.taps * inputs
    packed = empty((groups * -(-outputs // width), length + LANES, width))
    chunks = split(packed.shape[0], 1 + 4096 // max(length, 1))
    launch(
        pack_filters, weight, packed, groups, turned, *down, *across,
        empty(chunks * LANES * LANES), items=packed.shape[0], chunks=chunks,
    )  # fmt: skip
    return packed
