"""Convolution of many small images: the rows of a GEMM are one pixel of each image.

Rows of pixels would be short (2×2 images in VGG's last stage) and most taps padding; here each
pixel has a list of the taps inside the image.  Each thread has some panels of filters, which it
reads once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.activation import activate_all
from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Integers,
    Nullable,
    Quad,
    Vector,
    address,
    kernel,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import multiply_panel, multiply_panel_address
from nnlib_backends.numpy_backend.codegen.simd import LANES
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.kernels.conv.direct import copy_out
from nnlib_backends.numpy_backend.kernels.conv.direct_weight_grad import copy_columns, finish
from nnlib_backends.numpy_backend.kernels.conv.packing import pack, panel_width
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split, thread_count

__all__ = ["convolve", "filter_gradient", "is_worthwhile"]

Axes = tuple[Axis, Axis]


@njit
def _see(tables, taps, base_y, reach_y, taps_x, base_x, reach_x, height, width, pixel, piece):
    """List the taps inside the image: their pixels, and their rows of the filters."""
    pieces = 0
    for tap in range(taps):
        y, x = base_y + tap // taps_x * reach_y, base_x + tap % taps_x * reach_x
        if 0 <= y < height and 0 <= x < width:
            tables[pieces] = (y * width + x) * pixel
            tables[taps + pieces] = tap * piece
            pieces += 1
    return pieces


@kernel
def convolve_images(
    chunk, start, stop, x: Quad, packed: Cube, bias: Nullable[Vector], y: Quad, function: int,
    groups: int, down: Axis, across: Axis, products: Vector, tables: Integers,
):  # fmt: skip
    """Panels ``start … stop`` of all pixels of y; workspace of a chunk: a product, two tables."""
    images, height, width, channels = x.shape
    inputs, outputs, taps = channels // groups, y.shape[3] // groups, down.taps * across.taps
    row, image = packed.shape[2], y.shape[1] * y.shape[2] * y.shape[3]
    product, table = chunk * images * row, tables[2 * taps * chunk :]
    for panel in range(start, stop):
        group, first = divmod(panel, packed.shape[0] // groups)
        some = min(outputs - first * row, row)
        channel = group * outputs + first * row
        for position in range(down.positions * across.positions):
            i, j = position // across.positions, position % across.positions
            pieces = _see(
                table, taps, down.base + i * down.step, down.reach, across.taps,
                across.base + j * across.step, across.reach, height, width, channels, inputs * row,
            )  # fmt: skip
            multiply_panel(
                function, images, -(-some // LANES), address(x, group * inputs),
                height * width * channels, 1, address(table, 0),
                address(packed, panel * packed.shape[1] * row), row, address(table, taps), pieces,
                inputs, address(products, product), row, 0,
            )  # fmt: skip
            pixel = (down.first + i * down.every) * y.shape[2] + across.first + j * across.every
            copy_out(
                products, product, row, y, pixel * y.shape[3] + channel, image, images, some, bias,
                channel, False,
            )  # fmt: skip


@kernel
def filter_gradient_images(
    chunk, start, stop, x: Quad, g: Quad, sums: Quad, function: int, groups: int, down: Axis,
    across: Axis, copies: Vector, tables: Integers,
):  # fmt: skip
    """Panels ``start … stop`` of the sums (1, groups * panels, taps * inputs, width).

    Workspace of a chunk: a copy of a panel of g, two tables.
    """
    images, height, width, channels = x.shape
    inputs, outputs, row = channels // groups, g.shape[3] // groups, sums.shape[3]
    positions = down.positions * across.positions
    copy, table = chunk * positions * images * row, tables[2 * positions * chunk :]
    for panel in range(start, stop):
        group, first = divmod(panel, sums.shape[1] // groups)
        output = first * row
        some = min(outputs - output, row)
        for position in range(positions):  # the panel's columns, pixel by pixel
            copy_columns(
                g, position * g.shape[3] + group * outputs + output, positions * g.shape[3], images,
                some, copies, copy + position * images * row, row,
            )  # fmt: skip
        for tap in range(down.taps * across.taps):
            pieces = _see(
                table, positions, down.base + tap // across.taps * down.reach, down.step,
                across.positions, across.base + tap % across.taps * across.reach, across.step,
                height, width, channels, images * row,
            )  # fmt: skip
            multiply_panel(
                function, inputs, -(-some // LANES), address(x, group * inputs), 1,
                height * width * channels, address(table, 0), address(copies, copy), row,
                address(table, positions), pieces, images,
                address(sums, (panel * sums.shape[2] + tap * inputs) * row), row, 0,
            )  # fmt: skip


def is_worthwhile(images: int, outputs: int, axes: Axes) -> bool:
    """Return whether images are small and many, and panels of filters enough for all threads."""
    narrow = axes[1].positions <= 4 and axes[0].positions <= 16
    return narrow and images >= 8 and outputs >= 2 * LANES * thread_count()


def convolve(
    x: Array, weight: Array, bias: Array | None, y: Array, axes: Axes, groups: int,
    activation: str | None = None, *, turned: bool = False,
) -> None:  # fmt: skip
    """Convolve, see `direct.convolve`."""
    down, across = axes
    packed = pack(weight, down, across, groups, turned=turned)
    chunks = split(packed.shape[0])
    launch(
        convolve_images, x, packed, bias, y, multiply_panel_address(), groups, *down, *across,
        empty(chunks * x.shape[0] * packed.shape[2]),
        empty(chunks * 2 * max(down.taps * across.taps, 1), np.int64), items=packed.shape[0],
        chunks=chunks,
    )  # fmt: skip
    if activation:
        activate_all(y, activation)


def filter_gradient(x: Array, g: Array, dw: Array, axes: Axes, groups: int) -> None:
    """Write the gradient by the filters, see `direct_weight_grad.filter_gradient`."""
    down, across = axes
    length, outputs = down.taps * across.taps * dw.shape[3], dw.shape[0] // groups
    width = panel_width(outputs)
    panels, positions = groups * -(-outputs // width), down.positions * across.positions
    sums = empty((1, panels, -(-length // LANES) * LANES, width))
    chunks = split(panels)
    launch(
        filter_gradient_images, x, g, sums, multiply_panel_address(), groups, *down, *across,
        empty(chunks * positions * g.shape[0] * width), empty(chunks * 2 * positions, np.int64),
        items=panels, chunks=chunks,
    )  # fmt: skip
    finish(sums, dw, groups)
