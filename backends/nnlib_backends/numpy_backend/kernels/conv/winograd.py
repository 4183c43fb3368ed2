"""3×3 convolution by Winograd's F(4×4, 3×3): the result, and the gradient by the image.

The latter is a convolution, too, of the result's gradient with the filters turned by 180°.  There
are two orders of work.

By tiles, for images that are large against the number of channels: the transformed filters are made
once; each thread transforms a few tiles, small enough to stay in its cache, multiplies them with
all filters, and transforms the products back.

By panels, for many channels: transformed, 512 × 512 filters take 38 MB, more than caches hold and
more than a few tiles are worth.  There the tiles are transformed once, and each thread makes the
transformed filters for one panel of output channels at a time, in its cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    integer,
    integers,
    kernel,
    quad,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import (
    PANEL,
    PANEL_BYTES,
    multiply,
    multiply_address,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    LANES,
    load,
    load_some,
    relu,
    splat,
    store_some,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.conv.winograd_filters import (
    FILTER_SCRATCH,
    MATRIX,
    lanes_in,
    transform_panel,
    winograd_filters,
)
from nnlib_backends.numpy_backend.kernels.conv.winograd_transforms import (
    SCRATCH,
    gather,
    transform_image,
    untransform_result,
)  # fmt: skip
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split, thread_count

__all__ = [
    "SHARED",
    "convolve",
    "panels",
    "scratch_bytes",
    "tiles_of",
    "transform_tiles",
    "winograd_tiles",
]

f4 = np.float32
BLOCK = 1 << 18  # bytes of transformed tiles that a thread works on, by tiles
SHARED = 16 << 20  # bytes of transformed tiles at a time, by panels


def panels(channels: int) -> int:
    """How many panels so many channels fill."""
    return -(-channels // PANEL)


def tiles_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of 4×4 tiles in a result (N, H, W, O)."""
    return -(-shape[1] // 4), -(-shape[2] // 4)


# Tiles -------------------------------------------------------------------------------------------


@njit
def transform_tiles(
    image, height, width, channels, top, left, down, across, first, count, target, step, scratch
):
    """Bᵀ d B of ``count`` tiles: (panel, 36, tile, PANEL), the tiles ``step`` bytes in all.

    ``top`` and ``left`` are the padding, ``down`` and ``across`` the number of tiles.
    """
    pixel, edge = 4 * channels, scratch + SCRATCH
    for tile in range(first, first + count):
        one, place = tile // (down * across), tile % (down * across)
        y, x = place // across * 4 - top, place % across * 4 - left
        source, row = image + one * height * width * pixel, width * pixel
        if y >= 0 and y + 6 <= height and x >= 0 and x + 6 <= width:
            source += y * row + x * pixel
        else:
            gather(source, height, width, pixel, y, x, 6, edge)
            source, row = edge, 6 * pixel
        place = target + (tile - first) * PANEL_BYTES
        for c in range(0, -(-channels // PANEL) * PANEL, PANEL):
            transform_image(source, row, pixel, lanes_in(channels, c), place, step, scratch)
            source += BYTES
            count_two = lanes_in(channels, c + LANES)
            transform_image(source, row, pixel, count_two, place + BYTES, step, scratch)
            source += BYTES
            place += 36 * step


@njit
def _finish_tiles(
    products, step, panel, first, count, y, place, bias, rectify, down, across, scratch
):
    """Aᵀ m A of ``count`` tiles, with bias and relu, into one panel of the result."""
    height, width, channels = y.shape[1], y.shape[2], y.shape[3]
    for half in range(2):
        channel = panel * PANEL + half * LANES
        lanes = lanes_in(channels, channel)
        offset = load_some(bias + 4 * channel, lanes) if bias != 0 else splat(f4(0.0))
        for tile in range(first, first + (count if lanes > 0 else 0)):
            source = products + (tile - first) * PANEL_BYTES + half * BYTES
            untransform_result(source, step, scratch)
            one, where = tile // (down * across), tile % (down * across)
            top, left = where // across * 4, where % across * 4
            for i in range(min(4, height - top)):
                row = place + 4 * (((one * height + top + i) * width + left) * channels + channel)
                for j in range(min(4, width - left)):
                    value = load(scratch + (4 * i + j) * BYTES) + offset
                    value = relu(value) if rectify else value
                    store_some(row + 4 * j * channels, value, lanes)


@njit
def _multiply_tiles(
    function, count, transformed, step, filters, pieces, products, product_step, tables
):
    """36 products, (tiles, inputs) · (inputs, PANEL), one for each frequency."""
    for f in range(36):
        multiply(
            function, count, 2, transformed + f * step, PANEL_BYTES, 4, tables,
            filters + f * MATRIX, PANEL_BYTES, tables + 8 * pieces, pieces, PANEL,
            products + f * product_step, PANEL_BYTES, 0,
        )  # fmt: skip


@njit
def _fill_tables(tables, pieces, step):
    """Where the panels of transformed tiles and the rows of filters that belong to them are."""
    for i in range(pieces):
        tables[i] = i * 36 * step
        tables[pieces + i] = i * 36 * MATRIX


@kernel
def winograd_by_tiles(t, chunk, start, stop):
    """Tiles ``start … stop``, a block at a time through all three stages."""
    x, filters, y = quad(t, 0), quad(t, 1), quad(t, 3)
    top, left, down, across = integer(t, 4), integer(t, 5), integer(t, 6), integer(t, 7)
    block, scratch = integer(t, 10), address(t, 13) + chunk * integer(t, 14)
    pieces, step = -(-x.shape[3] // PANEL), (block | 1) * PANEL_BYTES
    transformed = address(t, 11) + chunk * pieces * 36 * step
    products = address(t, 12) + chunk * 36 * step
    tables = integers(t, 15)[chunk * 2 * pieces : (chunk + 1) * 2 * pieces]
    _fill_tables(tables, pieces, step)
    table = address(t, 15) + chunk * 16 * pieces
    for first in range(start, stop, block):
        count = min(block, stop - first)
        transform_tiles(
            address(t, 0), x.shape[1], x.shape[2], x.shape[3], top, left, down, across, first,
            count, transformed, step, scratch,
        )  # fmt: skip
        for panel in range(filters.shape[0]):
            _multiply_tiles(
                integer(t, 9), count, transformed, step,
                address(t, 1) + panel * pieces * 36 * MATRIX, pieces, products, step, table,
            )  # fmt: skip
            _finish_tiles(
                products, step, panel, first, count, y, address(t, 3), address(t, 2),
                integer(t, 8) != 0, down, across, scratch,
            )  # fmt: skip


@kernel
def winograd_tiles(t, chunk, start, stop):
    """Transform tiles ``first + start … first + stop`` into shared memory."""
    x, scratch = quad(t, 0), address(t, 7) + chunk * integer(t, 8)
    transform_tiles(
        address(t, 0), x.shape[1], x.shape[2], x.shape[3], integer(t, 1), integer(t, 2),
        integer(t, 3), integer(t, 4), integer(t, 5) + start, stop - start,
        address(t, 6) + start * PANEL_BYTES, integer(t, 9) * PANEL_BYTES, scratch,
    )  # fmt: skip


@kernel
def winograd_by_panels(t, chunk, start, stop):
    """Panels ``start … stop`` of the result of some tiles, already transformed."""
    weight, transformed, y = quad(t, 0), quad(t, 1), quad(t, 3)
    turned, down, across = integer(t, 4) != 0, integer(t, 5), integer(t, 6)
    begin, tiles, block = integer(t, 9), integer(t, 10), integer(t, 11)
    pieces, step = transformed.shape[0], transformed.shape[2] * PANEL_BYTES
    product_step = (block | 1) * PANEL_BYTES
    filters = address(t, 12) + chunk * pieces * 36 * MATRIX
    products = address(t, 13) + chunk * 36 * product_step
    scratch = address(t, 14) + chunk * FILTER_SCRATCH
    _fill_tables(integers(t, 15)[chunk * 2 * pieces : (chunk + 1) * 2 * pieces], pieces, step)
    for panel in range(start, stop):
        transform_panel(
            address(t, 0), weight.shape[0], weight.shape[3], turned, panel, filters, scratch
        )  # fmt: skip
        for first in range(0, tiles, block):
            count = min(block, tiles - first)
            _multiply_tiles(
                integer(t, 8), count, address(t, 1) + first * PANEL_BYTES, step, filters, pieces,
                products, product_step, address(t, 15) + chunk * 16 * pieces,
            )  # fmt: skip
            _finish_tiles(
                products, product_step, panel, begin + first, count, y, address(t, 3),
                address(t, 2), integer(t, 7) != 0, down, across, scratch,
            )  # fmt: skip


# Host --------------------------------------------------------------------------------------------


def convolve(
    x: Array,
    weight: Array,
    bias: Array | None,
    y: Array,
    padding: tuple[int, int],
    *,
    turned: bool = False,
    rectify: bool = False,
) -> None:
    """Write into ``y`` the convolution of ``x`` with 3×3 filters.

    Parameters
    ----------
    x : (N, H, W, C)
    weight : (O, 3, 3, C); turned, (C, 3, 3, O)
    bias : (O,), optional
    y : (N, H', W', O)
    padding : pair of int
        Negative: the image is cut.
    turned, rectify : bool
        Turn the filters by 180°; apply relu.
    """
    tiles = y.shape[0] * tiles_of(y.shape)[0] * tiles_of(y.shape)[1]
    if by_tiles(tiles, x.shape[3], y.shape[3]):
        _convolve_by_tiles(x, weight, bias, y, padding, turned, rectify, tiles)
    else:
        _convolve_by_panels(x, weight, bias, y, padding, turned, rectify, tiles)


def by_tiles(tiles: int, inputs: int, outputs: int) -> bool:
    """Whether to go by tiles: filters that stay in cache, and blocks for every thread."""
    return inputs * outputs <= 1 << 16 and tiles >= 16 * thread_count()


def scratch_bytes(channels: int) -> int:
    """Bytes that `transform_tiles` needs: a tile's pixels beside the transform's own."""
    return SCRATCH + 36 * 4 * channels + BYTES


def _convolve_by_tiles(
    x: Array, weight: Array, bias: Array | None, y: Array, padding: tuple[int, int], turned: bool,
    rectify: bool, tiles: int,
) -> None:  # fmt: skip
    pieces, outputs = panels(x.shape[3]), panels(y.shape[3])
    filters = empty((outputs, pieces * 36, PANEL + 1, PANEL))
    chunks = split(outputs)
    scratch = empty(chunks * FILTER_SCRATCH // 4)
    launch(winograd_filters, weight, filters, turned, scratch, items=outputs, chunks=chunks)
    block = max(12, BLOCK // (36 * PANEL_BYTES * pieces) // 12 * 12)
    chunks = split(tiles, 4)
    size = scratch_bytes(x.shape[3])
    launch(
        winograd_by_tiles, x, filters, bias, y, *padding, *tiles_of(y.shape), rectify,
        multiply_address(), block, empty((chunks, pieces, 36, (block | 1) * PANEL)),
        empty((chunks, 36, (block | 1) * PANEL)), empty(chunks * size // 4), size,
        empty(chunks * 2 * pieces, np.int64), items=tiles, chunks=chunks,
    )  # fmt: skip


def _convolve_by_panels(
    x: Array, weight: Array, bias: Array | None, y: Array, padding: tuple[int, int], turned: bool,
    rectify: bool, tiles: int,
) -> None:  # fmt: skip
    pieces, outputs = panels(x.shape[3]), panels(y.shape[3])
    shared = min(tiles, max(96, SHARED // (36 * PANEL_BYTES * pieces)))
    shared = -(-tiles // -(-tiles // shared))  # equal parts
    transformed = empty((pieces, 36, shared | 1, PANEL))
    block, down, across = min(shared, 60), *tiles_of(y.shape)
    workers, size = split(outputs), scratch_bytes(x.shape[3])
    filters = empty((workers, pieces * 36, PANEL + 1, PANEL))
    products = empty((workers, 36, (block | 1) * PANEL))
    scratch = empty(workers * FILTER_SCRATCH // 4)
    tables = empty(workers * 2 * pieces, np.int64)
    for first in range(0, tiles, shared):
        count = min(shared, tiles - first)
        chunks = split(count, 4)
        launch(
            winograd_tiles, x, *padding, down, across, first, transformed,
            empty(chunks * size // 4), size, shared | 1, items=count, chunks=chunks,
        )  # fmt: skip
        launch(
            winograd_by_panels, weight, transformed, bias, y, turned, down, across, rectify,
            multiply_address(), first, count, block, filters, products, scratch, tables,
            items=outputs, chunks=workers,
        )  # fmt: skip
