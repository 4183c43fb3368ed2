"""The gradient by the filters of a direct convolution.

For each tap it is the product of the image's channels and the result's gradient, summed over the
pixels.  Each thread sums over its rows; a second launch adds the threads' sums and transposes them,
because the sums have the filters last.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Integers,
    Quad,
    Vector,
    address,
    kernel,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import multiply_panel, multiply_panel_address
from nnlib_backends.numpy_backend.codegen.partial_sums import parts_of
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load,
    load_some,
    splat,
    store,
    store_some,
    transpose,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.kernels.conv.direct import copy_window, rows_at_once
from nnlib_backends.numpy_backend.kernels.conv.packing import panel_width
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["copy_columns", "filter_gradient", "finish"]

f4 = np.float32


@kernel
def filter_gradient_rows(
    chunk, start, stop, x: Quad, g: Quad, sums: Quad, function: int, groups: int, down: Axis,
    across: Axis, block: int, columns: int, windows: Vector, size: int, copies: Vector,
    tables: Integers,
):  # fmt: skip
    """Sum over rows ``start … stop`` of all images, (groups * panels, taps * inputs, width).

    Workspace of a chunk: a window of an image, ``size`` numbers, ``block`` rows of a panel of g,
    three tables.
    """
    height, width, channels, filters = x.shape[1], x.shape[2], x.shape[3], g.shape[3]
    inputs, outputs, panel_row = channels // groups, filters // groups, sums.shape[3]
    taps = down.taps * across.taps
    joined = across.reach == 1 and groups == 1
    pieces, length = (down.taps, across.taps * channels) if joined else (taps, inputs)
    per_row = 1 if joined else across.taps
    row = (columns if columns else width) * channels
    copy = chunk * block * across.positions * panel_row
    table = tables[chunk * 3 * block :]
    for i in range(block):  # rows of the image; of its gradient as it lies, and copied
        table[i] = i * down.step * row
        table[block + i] = i * across.positions * filters
        table[2 * block + i] = i * across.positions * panel_row
    item, add = start, 0
    while item < stop:
        image, top = item // down.positions, item % down.positions
        count = min(block, down.positions - top, stop - item)
        upper = down.base + top * down.step
        source = address(x, ((image * height + upper) * width + across.base) * channels)
        if columns:
            rows = (count - 1) * down.step + (down.taps - 1) * down.reach + 1
            source = address(windows, chunk * size)
            copy_window(x, image, upper, across.base, rows, columns, windows, chunk * size)
        for panel in range(sums.shape[1]):
            group, first = divmod(panel, sums.shape[1] // groups)
            output = first * panel_row
            some = min(outputs - output, panel_row)
            place = item * across.positions * filters + group * outputs + output
            whole = some % LANES == 0
            if not whole:
                positions = count * across.positions
                copy_columns(g, place, filters, positions, some, copies, copy, panel_row)
            total = (chunk * sums.shape[1] + panel) * sums.shape[2]
            for i in range(pieces):
                tap = i // per_row * down.reach * row + i % per_row * across.reach * channels
                multiply_panel(
                    function, length, -(-some // LANES),
                    address(source, tap + group * inputs), 1, across.step * channels,
                    address(table, 0), address(g, place) if whole else address(copies, copy),
                    filters if whole else panel_row, address(table, block * (1 if whole else 2)),
                    count, across.positions, address(sums, (total + i * length) * panel_row),
                    panel_row, add,
                )  # fmt: skip
        item, add = item + count, 1


@njit
def copy_columns(x, source, row, rows, count, to, target, target_row):
    """Copy ``count`` columns of some rows of x, followed by zeros."""
    for _ in range(rows):
        for k in range(0, count, LANES):
            store(to, target + k, load_some(x, source + k, count - k))
        source, target = source + row, target + target_row


@kernel
def finish_filter_gradient(chunk, start, stop, sums: Quad, dw: Cube, groups: int, scratch: Vector):
    """Add up the chunks' sums, and transpose them: blocks ``start … stop`` of taps * inputs.

    The sums are (parts, groups * panels, taps * inputs, width), dw (O, taps, inputs).
    """
    parts, per_group, width = sums.shape[0], sums.shape[1] // groups, sums.shape[3]
    length, outputs = dw.shape[1] * dw.shape[2], dw.shape[0] // groups
    block, size = scratch[chunk * 2 * LANES * LANES :], sums.shape[1] * sums.shape[2] * width
    turned = LANES * LANES
    for item in range(start, stop):
        first = item * LANES
        for panel in range(sums.shape[1]):
            group, output = panel // per_group, panel % per_group * width
            for half in range(0, width, LANES):
                place = (panel * sums.shape[2] + first) * width + half
                for i in range(LANES):
                    value = splat(f4(0.0))
                    for part in range(parts):
                        value = value + load(sums, place + part * size)
                    store(block, i * LANES, value)
                    place += width
                transpose(block, 0, LANES, block, turned, LANES)
                for i in range(min(LANES, outputs - output - half)):
                    target = (group * outputs + output + half + i) * length + first
                    store_some(dw, target, load(block, turned + i * LANES), length - first)


def filter_gradient(x: Array, g: Array, dw: Array, axes: tuple[Axis, Axis], groups: int) -> None:
    """Write the gradient by the filters into ``dw``.

    Parameters
    ----------
    x : (N, H, W, C)
    g : (N, H', W', O)
        Gradient by the result.
    dw : (O, kh, kw, C / groups)
    axes : pair of Axis
        Those of the forward convolution.
    groups : int
    """
    down, across = axes
    length, outputs = down.taps * across.taps * dw.shape[3], dw.shape[0] // groups
    width = panel_width(outputs)
    panels, padded = groups * -(-outputs // width), -(-length // LANES) * LANES
    inside = down.inside(x.shape[1]) and across.inside(x.shape[2])
    columns = 0 if inside else across.span(across.positions)
    block = rows_at_once(down, (columns or x.shape[2]) * x.shape[3] * 4, across.positions)
    size = 0 if inside else down.span(block) * columns * x.shape[3] + LANES
    rows = x.shape[0] * down.positions
    chunks = parts_of(rows, 1 + 20000 // max(across.positions * outputs * length, 1))
    sums = empty((chunks, panels, padded, width))
    launch(
        filter_gradient_rows, x, g, sums, multiply_panel_address(), groups, *down, *across, block,
        columns, empty(chunks * size), size, empty(chunks * block * across.positions * width),
        empty(chunks * 3 * block, np.int64), items=rows, chunks=chunks,
    )  # fmt: skip
    finish(sums, dw, groups)


def finish(sums: Array, dw: Array, groups: int) -> None:
    """Add up sums (parts, groups * panels, taps * inputs, width) and transpose them into ``dw``."""
    blocks = sums.shape[2] // LANES
    finishers = split(blocks, 1 + 4096 // (LANES * sums[:, :, 0].size))
    launch(
        finish_filter_gradient, sums, dw.reshape(dw.shape[0], -1, dw.shape[3]), groups,
        empty(finishers * 2 * LANES * LANES), items=blocks, chunks=finishers,
    )  # fmt: skip
