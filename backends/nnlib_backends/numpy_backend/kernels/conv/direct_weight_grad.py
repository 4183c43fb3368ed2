"""The gradient by the filters of any convolution.

For each tap it is the product of the image's channels and the result's gradient, summed over the
pixels.  Each thread sums over its rows, and the threads' sums are added at the end; there, too, the
result is transposed, as the sums have the filters last.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    cube,
    integer,
    integers,
    kernel,
    quad,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import multiply, multiply_address
from nnlib_backends.numpy_backend.codegen.partial_sums import parts_of
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
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

__all__ = ["filter_gradient", "finish"]

f4 = np.float32


@kernel
def filter_gradient_rows(t, chunk, start, stop):
    """Sum over rows ``start … stop`` of all images, (groups * panels, taps * inputs, width)."""
    x, g, sums, groups = quad(t, 0), quad(t, 1), quad(t, 2), integer(t, 4)
    down, step_y, base_y = integer(t, 5), integer(t, 8), integer(t, 9)
    taps_y, reach_y = integer(t, 10), integer(t, 11)
    across, step_x, base_x = integer(t, 14), integer(t, 17), integer(t, 18)
    taps_x, reach_x = integer(t, 19), integer(t, 20)
    block, columns, size = integer(t, 23), integer(t, 24), integer(t, 26)
    height, width, channels, filters = x.shape[1], x.shape[2], x.shape[3], g.shape[3]
    pixel, panel_row = 4 * channels, sums.shape[3] * 4
    inputs, outputs = channels // groups, filters // groups
    joined = reach_x == 1 and groups == 1
    pieces, length = (taps_y, taps_x * channels) if joined else (taps_y * taps_x, inputs)
    per_row = 1 if joined else taps_x
    row = (columns if columns else width) * pixel
    copy = address(t, 27) + chunk * block * across * panel_row
    tables, table = integers(t, 28)[chunk * 3 * block :], address(t, 28) + 24 * chunk * block
    for i in range(block):  # rows of the image; of its gradient as it lies, and copied
        tables[i] = i * step_y * row
        tables[block + i] = i * across * filters * 4
        tables[2 * block + i] = i * across * panel_row
    item, add = start, 0
    while item < stop:
        image, top = item // down, item % down
        count = min(block, down - top, stop - item)
        source = address(t, 0) + image * height * width * pixel
        if columns:
            window = address(t, 25) + chunk * size
            rows = (count - 1) * step_y + (taps_y - 1) * reach_y + 1
            copy_window(
                source, height, width, pixel, base_y + top * step_y, base_x, rows, columns, window
            )
            source = window
        else:
            source += (base_y + top * step_y) * row + base_x * pixel
        for panel in range(sums.shape[1]):
            group, first = divmod(panel, sums.shape[1] // groups)
            output = first * sums.shape[3]
            some = min(outputs - output, sums.shape[3])
            place = address(t, 1) + 4 * (item * across * filters + group * outputs + output)
            whole = some % LANES == 0
            if not whole:
                _copy_columns(place, 4 * filters, count * across, some, copy, panel_row)
            total = address(t, 2) + (chunk * sums.shape[1] + panel) * sums.shape[2] * panel_row
            for i in range(pieces):
                tap = i // per_row * reach_y * row + i % per_row * reach_x * pixel
                multiply(
                    integer(t, 3), length, -(-some // LANES), source + tap + 4 * group * inputs, 4,
                    step_x * pixel, table, place if whole else copy,
                    4 * filters if whole else panel_row, table + 8 * block * (1 if whole else 2),
                    count, across, total + i * length * panel_row, panel_row, add,
                )  # fmt: skip
        item, add = item + count, 1


@njit
def _copy_columns(source, source_row, rows, count, target, target_row):
    """Copy ``count`` columns, followed by zeros."""
    for _ in range(rows):
        for k in range(0, count, LANES):
            store(target + 4 * k, load_some(source + 4 * k, count - k))
        source, target = source + source_row, target + target_row


@kernel
def finish_filter_gradient(t, chunk, start, stop):
    """Add up the chunks' sums, and transpose them: blocks ``start … stop`` of taps * inputs."""
    sums, dw, groups = quad(t, 0), cube(t, 1), integer(t, 2)  # dw: (O, taps, inputs)
    parts, per_group, width = sums.shape[0], sums.shape[1] // groups, sums.shape[3]
    length, outputs = dw.shape[1] * dw.shape[2], dw.shape[0] // groups
    block = address(t, 3) + chunk * 2 * LANES * BYTES
    turned, size = block + LANES * BYTES, 4 * sums.shape[1] * sums.shape[2] * width
    for item in range(start, stop):
        first = item * LANES
        for panel in range(sums.shape[1]):
            group, output = panel // per_group, panel % per_group * width
            for half in range(0, width, LANES):
                place = address(t, 0) + 4 * ((panel * sums.shape[2] + first) * width + half)
                for i in range(LANES):
                    value = splat(f4(0.0))
                    for part in range(parts):
                        value = value + load(place + part * size)
                    store(block + i * BYTES, value)
                    place += 4 * width
                transpose(block, BYTES, turned, BYTES)
                for i in range(min(LANES, outputs - output - half)):
                    target = 4 * ((group * outputs + output + half + i) * length + first)
                    store_some(address(t, 1) + target, load(turned + i * BYTES), length - first)


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
    size = 0 if inside else down.span(block) * columns * x.shape[3] * 4 + BYTES
    rows = x.shape[0] * down.positions
    chunks = parts_of(rows, 1 + 20000 // max(across.positions * outputs * length, 1))
    sums = empty((chunks, panels, padded, width))
    launch(
        filter_gradient_rows, x, g, sums, multiply_address(), groups, *down, *across, block,
        columns, empty(chunks * size // 4), size, empty(chunks * block * across.positions * width),
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
