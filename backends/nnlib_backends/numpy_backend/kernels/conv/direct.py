"""Convolution of any kind, straight from the image: the result, and the gradient by the image.

A row of the result is a product: its pixels, a constant distance apart in the image, times the
filters, whose taps are found through a table.  So nothing is laid out but a few rows of the image
with their padding, and the filters, once, in panels of output channels.

The gradient by the image is such a convolution, too, of the result's gradient.  With stride s the
pixels of the image fall into s × s phases, each of which sees only some of the taps, at distances
that are again constant.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.activation import activate_in_place
from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    cube,
    integer,
    integers,
    kernel,
    quad,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import multiply, multiply_address
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
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
WINDOW = 1 << 17  # bytes of padded image at a time: with filters and results it fits an L2 cache
PIXELS = 96  # at a time, at least: they share one reading of the filters


@njit
def copy_window(image, height, width, pixel, top, left, rows, columns, target):
    """Copy a part of an image; what lies outside is zeros.  ``pixel`` is in bytes.

    Writes up to a vector beyond its end.
    """
    low, high = min(max(-left, 0), columns), max(min(width - left, columns), 0)
    for i in range(rows):
        row, place = top + i, target + i * columns * pixel
        if 0 <= row < height and low < high:
            _clear(place, low * pixel)
            source = image + (row * width + left + low) * pixel
            _copy(source, place + low * pixel, (high - low) * pixel)
            _clear(place + high * pixel, (columns - high) * pixel)
        else:
            _clear(place, columns * pixel)


@njit
def _clear(target, size):
    zero = splat(f4(0.0))
    for k in range(0, size, BYTES):
        store(target + k, zero)


@njit
def _copy(source, target, size):
    for k in range(0, size - BYTES + 1, BYTES):
        store(target + k, load(source + k))
    k = size // BYTES * BYTES
    store(target + k, load_some(source + k, (size - k) // 4))


# Rows --------------------------------------------------------------------------------------------


@njit
def _fill_tables(tables, pieces, per_row, reach_y, reach_x, row, pixel, piece_bytes):
    """Where the pieces of the sum are: taps of the image, rows of the filters."""
    for i in range(pieces):
        tables[i] = i // per_row * reach_y * row + i % per_row * reach_x * pixel
        tables[pieces + i] = i * piece_bytes


@njit
def _add_bias(place, step, rows, count, bias):
    """Add the bias to ``count`` channels of some pixels, which are ``step`` bytes apart."""
    for k in range(0, count, LANES):
        offset, p = load_some(bias + 4 * k, count - k), place + 4 * k
        if count - k >= LANES:
            for _ in range(rows):
                store(p, load(p) + offset)
                p += step
        else:
            for _ in range(rows):
                store_some(p, load_some(p, count - k) + offset, count - k)
                p += step


@njit
def copy_out(product, product_row, place, step, rows, count, bias, ordered):
    """Copy the first ``count`` columns of a product to pixels ``step`` bytes apart; add the bias.

    In order, a pixel may be written beyond its end, where the next comes, but for the last ones.
    """
    for k in range(0, count, LANES):
        some = count - k
        offset = load_some(bias + 4 * k, some) if bias != 0 else splat(f4(0.0))
        p, q = place + 4 * k, product + 4 * k
        safe = rows - (BYTES + step - 1) // step if ordered and some == count else 0
        for _ in range(safe):
            store(p, load(q) + offset)
            p, q = p + step, q + product_row
        for _ in range(max(safe, 0), rows):
            store_some(p, load(q) + offset, some)
            p, q = p + step, q + product_row


@kernel
def convolve_rows(t, chunk, start, stop):
    """Rows ``start … stop`` of all images' results (or of one phase of the gradient)."""
    x, packed, y, groups = quad(t, 0), cube(t, 1), quad(t, 3), integer(t, 6)
    down, first_y, every_y, step_y = integer(t, 7), integer(t, 8), integer(t, 9), integer(t, 10)
    base_y, taps_y, reach_y = integer(t, 11), integer(t, 12), integer(t, 13)
    across, first_x, every_x, step_x = (
        integer(t, 16),
        integer(t, 17),
        integer(t, 18),
        integer(t, 19),
    )
    base_x, taps_x, reach_x = integer(t, 20), integer(t, 21), integer(t, 22)
    block, columns, size = integer(t, 25), integer(t, 26), integer(t, 28)
    height, width, channels, filters = x.shape[1], x.shape[2], x.shape[3], y.shape[3]
    pixel, panel_row = 4 * channels, packed.shape[2] * 4
    inputs, outputs = channels // groups, filters // groups
    joined = reach_x == 1 and groups == 1  # the taps of a row are one piece
    pieces, length = (taps_y, taps_x * channels) if joined else (taps_y * taps_x, inputs)
    row = (columns if columns else width) * pixel
    tables = integers(t, 30)[chunk * integer(t, 31) : (chunk + 1) * integer(t, 31)]
    _fill_tables(
        tables, pieces, 1 if joined else taps_x, reach_y, reach_x, row, pixel, length * panel_row
    )
    table = address(t, 30) + 8 * chunk * integer(t, 31)
    product = address(t, 29) + chunk * across * panel_row
    item = start
    while item < stop:
        image, top = item // down, item % down
        count = min(block, down - top, stop - item)
        source = address(t, 0) + image * height * width * pixel
        if columns and pieces:
            window = address(t, 27) + chunk * size
            rows = (count - 1) * step_y + (taps_y - 1) * reach_y + 1
            copy_window(
                source, height, width, pixel, base_y + top * step_y, base_x, rows, columns, window
            )
            source = window
        else:
            source += (base_y + top * step_y) * row + base_x * pixel
        for panel in range(packed.shape[0]):
            group, first = divmod(panel, packed.shape[0] // groups)
            output = first * packed.shape[2]
            some, channel = min(outputs - output, packed.shape[2]), group * outputs + output
            vectors = -(-some // LANES)
            whole = some % LANES == 0  # else the result's row would be written beyond the panel
            for i in range(count):
                place = address(t, 3) + 4 * (channel + filters * (
                    (image * y.shape[1] + first_y + (top + i) * every_y) * y.shape[2] + first_x
                ))  # fmt: skip
                multiply(
                    integer(t, 5), across, vectors, source + i * step_y * row + 4 * group * inputs,
                    step_x * pixel, 4, table, address(t, 1) + panel * packed.shape[1] * panel_row,
                    panel_row, table + 8 * pieces, pieces, length, place if whole else product,
                    4 * every_x * filters if whole else panel_row, 0,
                )  # fmt: skip
                bias = address(t, 2) + 4 * channel if address(t, 2) != 0 else 0
                if not whole:
                    copy_out(
                        product, panel_row, place, 4 * every_x * filters, across, some, bias,
                        packed.shape[0] == 1 and every_x == 1,
                    )  # fmt: skip
                elif bias != 0:
                    _add_bias(place, 4 * every_x * filters, across, some, bias)
        if integer(t, 4) != 0:
            activate_in_place(
                address(t, 3) + 4 * (image * down + top) * across * filters,
                count * across * filters, integer(t, 4),
            )  # fmt: skip
        item += count


# Host --------------------------------------------------------------------------------------------


def rows_at_once(axis: Axis, row_bytes: int, across: int) -> int:
    """How many rows of the result to make at a time."""
    by_cache = WINDOW // max(row_bytes * axis.step, 1)
    return max(1, min(axis.positions, max(by_cache, -(-PIXELS // max(across, 1)))))


def convolve(
    x: Array, weight: Array, bias: Array | None, y: Array, axes: tuple[Axis, Axis], groups: int,
    activation: str | None = None, *, turned: bool = False,
) -> None:  # fmt: skip
    """Write into ``y`` the pixels that the axes say.

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
    if not taps:  # these pixels are seen by nobody
        down, across = down._replace(taps=0, base=0), across._replace(taps=0, base=0)
    packed = pack(weight, down, across, groups, turned=turned)
    width, outputs = packed.shape[2], y.shape[3] // groups
    inside = down.inside(x.shape[1]) and across.inside(x.shape[2])
    columns = 0 if inside else across.span(across.positions)
    block = rows_at_once(down, (columns or x.shape[2]) * x.shape[3] * 4, across.positions)
    size = 0 if inside else down.span(block) * columns * x.shape[3] * 4 + BYTES
    rows = x.shape[0] * down.positions
    chunks = split(rows, 1 + 20000 // max(across.positions * outputs * packed.shape[1], 1))
    launch(
        convolve_rows, x, packed, bias, y, CODES[activation], multiply_address(), groups, *down,
        *across, block, columns, empty(chunks * size // 4), size,
        empty(chunks * across.positions * width), empty(chunks * 2 * max(taps, 1), np.int64),
        2 * max(taps, 1), items=rows, chunks=chunks,
    )  # fmt: skip
