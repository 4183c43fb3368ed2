"""Convolution of many small images: a product's rows are the images, one pixel of each.

Rows of pixels would be too short (2×2 images in VGG's last stage), and most taps would see padding:
here a pixel has its own list of the taps that see the image.  Each thread takes some panels of
filters, and so reads the filters once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.activation import activate_all
from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    cube,
    integer,
    integers,
    kernel,
    quad,
)
from nnlib_backends.numpy_backend.codegen.gemm import multiply, multiply_address
from nnlib_backends.numpy_backend.codegen.simd import LANES
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.kernels.conv.direct import copy_out
from nnlib_backends.numpy_backend.kernels.conv.direct_weight_grad import finish
from nnlib_backends.numpy_backend.kernels.conv.packing import pack, panel_width
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split, thread_count

__all__ = ["convolve", "filter_gradient", "is_worthwhile"]

Axes = tuple[Axis, Axis]


@njit
def _see(tables, taps, base_y, reach_y, taps_x, base_x, reach_x, height, width, pixel, piece):
    """List the taps that see the image: their pixels, and their rows of the filters."""
    pieces = 0
    for tap in range(taps):
        y, x = base_y + tap // taps_x * reach_y, base_x + tap % taps_x * reach_x
        if 0 <= y < height and 0 <= x < width:
            tables[pieces] = (y * width + x) * pixel
            tables[taps + pieces] = tap * piece
            pieces += 1
    return pieces


@kernel
def convolve_images(t, chunk, start, stop):
    """Panels ``start … stop`` of all pixels."""
    x, packed, y, groups = quad(t, 0), cube(t, 1), quad(t, 3), integer(t, 5)
    down, first_y, every_y, step_y = integer(t, 6), integer(t, 7), integer(t, 8), integer(t, 9)
    base_y, taps_y, reach_y = integer(t, 10), integer(t, 11), integer(t, 12)
    across, first_x, every_x, step_x = (
        integer(t, 15),
        integer(t, 16),
        integer(t, 17),
        integer(t, 18),
    )
    base_x, taps_x, reach_x = integer(t, 19), integer(t, 20), integer(t, 21)
    inputs, outputs, taps = x.shape[3] // groups, y.shape[3] // groups, taps_y * taps_x
    row, image = 4 * packed.shape[2], 4 * y.shape[1] * y.shape[2] * y.shape[3]
    product = address(t, 24) + chunk * x.shape[0] * row
    tables, table = integers(t, 25)[2 * taps * chunk :], address(t, 25) + 16 * taps * chunk
    for panel in range(start, stop):
        group, first = divmod(panel, packed.shape[0] // groups)
        some = min(outputs - first * packed.shape[2], packed.shape[2])
        channel = group * outputs + first * packed.shape[2]
        for position in range(down * across):
            i, j = position // across, position % across
            pieces = _see(
                tables, taps, base_y + i * step_y, reach_y, taps_x, base_x + j * step_x, reach_x,
                x.shape[1], x.shape[2], 4 * x.shape[3], inputs * row,
            )  # fmt: skip
            multiply(
                integer(t, 4), x.shape[0], -(-some // LANES), address(t, 0) + 4 * group * inputs,
                4 * x.shape[1] * x.shape[2] * x.shape[3], 4, table,
                address(t, 1) + panel * packed.shape[1] * row, row, table + 8 * taps, pieces,
                inputs, product, row, 0,
            )  # fmt: skip
            pixel = (first_y + i * every_y) * y.shape[2] + first_x + j * every_x
            copy_out(
                product, row, address(t, 3) + 4 * (pixel * y.shape[3] + channel), image,
                x.shape[0], some, address(t, 2) + 4 * channel if address(t, 2) != 0 else 0, False,
            )  # fmt: skip


@kernel
def filter_gradient_images(t, chunk, start, stop):
    """Panels ``start … stop`` of the sums (1, groups * panels, taps * inputs, width)."""
    x, g, sums, groups = quad(t, 0), quad(t, 1), quad(t, 2), integer(t, 4)
    down, step_y, base_y = integer(t, 5), integer(t, 8), integer(t, 9)
    taps_y, reach_y = integer(t, 10), integer(t, 11)
    across, step_x, base_x = integer(t, 14), integer(t, 17), integer(t, 18)
    taps_x, reach_x = integer(t, 19), integer(t, 20)
    inputs, outputs, row = x.shape[3] // groups, g.shape[3] // groups, 4 * sums.shape[3]
    positions, size = down * across, x.shape[1] * x.shape[2] * x.shape[3] * 4
    copy = address(t, 23) + chunk * positions * g.shape[0] * row
    tables, table = (
        integers(t, 24)[2 * positions * chunk :],
        address(t, 24) + 16 * positions * chunk,
    )
    for panel in range(start, stop):
        group, first = divmod(panel, sums.shape[1] // groups)
        output = first * sums.shape[3]
        some = min(outputs - output, sums.shape[3])
        for position in range(positions):  # the panel's columns, pixel by pixel
            source = 4 * (position * g.shape[3] + group * outputs + output)
            for image in range(g.shape[0]):
                copy_out(
                    address(t, 1) + source + 4 * image * positions * g.shape[3], row,
                    copy + (position * g.shape[0] + image) * row, row, 1, some, 0, False,
                )  # fmt: skip
        for tap in range(taps_y * taps_x):
            pieces = _see(
                tables, positions, base_y + tap // taps_x * reach_y, step_y, across,
                base_x + tap % taps_x * reach_x, step_x, x.shape[1], x.shape[2], 4 * x.shape[3],
                g.shape[0] * row,
            )  # fmt: skip
            multiply(
                integer(t, 3), inputs, -(-some // LANES), address(t, 0) + 4 * group * inputs, 4,
                size, table, copy, row, table + 8 * positions, pieces, g.shape[0],
                address(t, 2) + (panel * sums.shape[2] + tap * inputs) * row, row, 0,
            )  # fmt: skip


def is_worthwhile(images: int, outputs: int, axes: Axes) -> bool:
    """Whether images are small and many enough, and filters enough for all threads."""
    narrow = axes[1].positions <= 4 and axes[0].positions <= 16
    return narrow and images >= 8 and outputs >= 2 * LANES * thread_count()


def convolve(
    x: Array, weight: Array, bias: Array | None, y: Array, axes: Axes, groups: int,
    activation: str | None = None, *, turned: bool = False,
) -> None:  # fmt: skip
    """Do what `direct.convolve` does."""
    down, across = axes
    packed = pack(weight, down, across, groups, turned=turned)
    chunks = split(packed.shape[0])
    launch(
        convolve_images, x, packed, bias, y, multiply_address(), groups, *down, *across,
        empty(chunks * x.shape[0] * packed.shape[2]),
        empty(chunks * 2 * max(down.taps * across.taps, 1), np.int64), items=packed.shape[0],
        chunks=chunks,
    )  # fmt: skip
    if activation:
        activate_all(y, activation)


def filter_gradient(x: Array, g: Array, dw: Array, axes: Axes, groups: int) -> None:
    """Do what `direct_gradient.filter_gradient` does."""
    down, across = axes
    length, outputs = down.taps * across.taps * dw.shape[3], dw.shape[0] // groups
    width = panel_width(outputs)
    panels, positions = groups * -(-outputs // width), down.positions * across.positions
    sums = empty((1, panels, -(-length // LANES) * LANES, width))
    chunks = split(panels)
    launch(
        filter_gradient_images, x, g, sums, multiply_address(), groups, *down, *across,
        empty(chunks * positions * g.shape[0] * width), empty(chunks * 2 * positions, np.int64),
        items=panels, chunks=chunks,
    )  # fmt: skip
    finish(sums, dw, groups)
