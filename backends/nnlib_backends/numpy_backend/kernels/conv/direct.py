"""Direct convolution for all options: the result, and the gradient by the image.

A row of the result is a GEMM of its pixels, at a constant distance in the image, and the filters,
whose taps are found through a table.  So only a few padded rows of the image are copied, and the
filters, once, into panels of output channels.

The gradient by the image is such a convolution of the result's gradient.  With stride s the pixels
of the image form s × s phases, each with some of the taps, at constant distances.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.activation import activate_in_place
from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Integers,
    Nullable,
    Quad,
    Vector,
    address,
    is_given,
    kernel,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import multiply_panel, multiply_panel_address
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load,
    load_some,
    splat,
    store,
    store_some,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.activation import CODES
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.kernels.conv.packing import pack
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["PIXELS", "convolve", "copy_out", "copy_window", "rows_at_once"]

f4 = np.float32
Pair = tuple[int, int]
WINDOW = 1 << 17  # bytes of padded image at a time, which with filters and results fit an L2 cache
PIXELS = 96  # at a time, at least, for each reading of the filters


@njit
def copy_window(x, image, top, left, rows, columns, target, place):
    """Copy a part of an image to position ``place`` of an array, with zeros outside the image.

    Writes up to a vector beyond the end.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    low, high = min(max(-left, 0), columns), max(min(width - left, columns), 0)
    for i in range(rows):
        row, first = top + i, place + i * columns * channels
        if 0 <= row < height and low < high:
            _clear(target, first, low * channels)
            source = ((image * height + row) * width + left + low) * channels
            _copy(x, source, target, first + low * channels, (high - low) * channels)
            _clear(target, first + high * channels, (columns - high) * channels)
        else:
            _clear(target, first, columns * channels)


@njit
def _clear(target, first, size):
    zero = splat(f4(0.0))
    for k in range(0, size, LANES):
        store(target, first + k, zero)


@njit
def _copy(x, source, target, first, size):
    for k in range(0, size - LANES + 1, LANES):
        store(target, first + k, load(x, source + k))
    k = size // LANES * LANES
    store(target, first + k, load_some(x, source + k, size - k))


# Rows --------------------------------------------------------------------------------------------


@njit
def _fill_tables(tables, pieces, per_row, reach_y, reach_x, row, pixel, piece):
    """Fill the tables of the sum's pieces: taps of the image, rows of the filters."""
    for i in range(pieces):
        tables[i] = i // per_row * reach_y * row + i % per_row * reach_x * pixel
        tables[pieces + i] = i * piece


@njit
def _add_bias(y, place, step, rows, count, bias, channel):
    """Add the bias to ``count`` channels of some pixels of y, which are ``step`` numbers apart."""
    for k in range(0, count, LANES):
        offset, p = load_some(bias, channel + k, count - k), place + k
        if count - k >= LANES:
            for _ in range(rows):
                store(y, p, load(y, p) + offset)
                p += step
        else:
            for _ in range(rows):
                store_some(y, p, load_some(y, p, count - k) + offset, count - k)
                p += step


@njit
def copy_out(product, first, row, y, place, step, rows, count, bias, channel, ordered):
    """Copy ``count`` columns of a product to pixels of y, ``step`` numbers apart; add the bias.

    If ordered, a pixel but the last ones may be written beyond its end, where the next one follows.
    """
    for k in range(0, count, LANES):
        some = count - k
        offset = load_some(bias, channel + k, some) if is_given(bias) else splat(f4(0.0))
        p, q = place + k, first + k
        safe = rows - (LANES + step - 1) // step if ordered and some == count else 0
        for _ in range(safe):
            store(y, p, load(product, q) + offset)
            p, q = p + step, q + row
        for _ in range(max(safe, 0), rows):
            store_some(y, p, load(product, q) + offset, some)
            p, q = p + step, q + row


@kernel
def convolve_rows(
    chunk, start, stop, x: Quad, packed: Cube, bias: Nullable[Vector], y: Quad, code: int,
    function: int, groups: int, down: Axis, across: Axis, block: int, columns: int, windows: Vector,
    size: int, products: Vector, tables: Integers, table_size: int,
):  # fmt: skip
    """Rows ``start … stop`` of all images' results y (or of one phase of the gradient).

    Workspace of a chunk: a window of an image, ``size`` numbers, a row of a product, two tables.
    """
    height, width, channels, filters = x.shape[1], x.shape[2], x.shape[3], y.shape[3]
    inputs, outputs, panel_row = channels // groups, filters // groups, packed.shape[2]
    taps = down.taps * across.taps
    joined = across.reach == 1 and groups == 1  # the taps of a row are one piece
    pieces, length = (down.taps, across.taps * channels) if joined else (taps, inputs)
    row = (columns if columns else width) * channels
    table = tables[chunk * table_size :]
    _fill_tables(
        table, pieces, 1 if joined else across.taps, down.reach, across.reach, row, channels,
        length * panel_row,
    )  # fmt: skip
    product, step = chunk * across.positions * panel_row, across.every * filters
    item = start
    while item < stop:
        image, top = item // down.positions, item % down.positions
        count = min(block, down.positions - top, stop - item)
        upper = down.base + top * down.step
        source = address(x, ((image * height + upper) * width + across.base) * channels)
        if columns and pieces:
            rows = (count - 1) * down.step + (down.taps - 1) * down.reach + 1
            source = address(windows, chunk * size)
            copy_window(x, image, upper, across.base, rows, columns, windows, chunk * size)
        for panel in range(packed.shape[0]):
            group, first = divmod(panel, packed.shape[0] // groups)
            output = first * panel_row
            some, channel = min(outputs - output, panel_row), group * outputs + output
            vectors = -(-some // LANES)
            whole = some % LANES == 0  # else the result would be written beyond the panel
            for i in range(count):
                line = image * y.shape[1] + down.first + (top + i) * down.every
                place = (line * y.shape[2] + across.first) * filters + channel
                multiply_panel(
                    function, across.positions, vectors,
                    address(source, i * down.step * row + group * inputs),
                    across.step * channels, 1, address(table, 0),
                    address(packed, panel * packed.shape[1] * panel_row), panel_row,
                    address(table, pieces), pieces, length,
                    address(y, place) if whole else address(products, product),
                    step if whole else panel_row, 0,
                )  # fmt: skip
                if not whole:
                    copy_out(
                        products, product, panel_row, y, place, step, across.positions, some, bias,
                        channel, packed.shape[0] == 1 and across.every == 1,
                    )  # fmt: skip
                elif is_given(bias):
                    _add_bias(y, place, step, across.positions, some, bias, channel)
        if code != 0:
            rows_before, line = image * down.positions + top, across.positions * filters
            activate_in_place(y, rows_before * line, count * line, code)
        item += count


# Host --------------------------------------------------------------------------------------------


def rows_at_once(axis: Axis, row_bytes: int, across: int) -> int:
    """Return the number of the result's rows to compute at a time."""
    by_cache = WINDOW // max(row_bytes * axis.step, 1)
    return max(1, min(axis.positions, max(by_cache, -(-PIXELS // max(across, 1)))))


def convolve(
    x: Array, weight: Array, bias: Array | None, y: Array, axes: tuple[Axis, Axis], groups: int,
    activation: str | None = None, *, turned: bool = False,
) -> None:  # fmt: skip
    """Write the pixels of two axes into ``y``.

    Parameters
    ----------
    x : (N, H, W, C)
    weight : (O, kh, kw, C / groups); turned, (C, kh, kw, O / groups)
    bias : (O,), optional
    y : (N, H', W', O)
    axes : pair of Axis
    groups : int
    activation : str, optional
    """
    down, across = axes
    taps = down.taps * across.taps
    if not taps:  # no position reads these pixels
        down, across = down._replace(taps=0, base=0), across._replace(taps=0, base=0)
    packed = pack(weight, down, across, groups, turned=turned)
    width, outputs = packed.shape[2], y.shape[3] // groups
    inside = down.inside(x.shape[1]) and across.inside(x.shape[2])
    columns = 0 if inside else across.span(across.positions)
    block = rows_at_once(down, (columns or x.shape[2]) * x.shape[3] * 4, across.positions)
    size = 0 if inside else down.span(block) * columns * x.shape[3] + LANES
    rows = x.shape[0] * down.positions
    chunks = split(rows, 1 + 20000 // max(across.positions * outputs * packed.shape[1], 1))
    launch(
        convolve_rows, x, packed, bias, y, CODES[activation], multiply_panel_address(), groups,
        *down, *across, block, columns, empty(chunks * size), size,
        empty(chunks * across.positions * width), empty(chunks * 2 * max(taps, 1), np.int64),
        2 * max(taps, 1), items=rows, chunks=chunks,
    )  # fmt: skip
