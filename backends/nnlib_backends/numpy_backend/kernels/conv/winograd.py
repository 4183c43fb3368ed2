"""3×3 convolution by Winograd's F(4×4, 3×3): the result, and the gradient by the image.

The latter is a convolution of the result's gradient with the filters rotated by 180°.  There are
two orders of computation.

By tiles, for few channels: the filters are transformed once; each thread transforms a few tiles,
which stay in its cache, multiplies them by all filters, and transforms the products back.

By panels, for many channels: transformed, 512 × 512 filters take 38 MB, more than caches hold.  So
the tiles are transformed once, and each thread transforms the filters of one panel of output
channels at a time, in its cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import (
    Integers,
    Nullable,
    Quad,
    Vector,
    address,
    is_given,
    kernel,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import (
    PANEL,
    multiply_panel,
    multiply_panel_address,
)
from nnlib_backends.numpy_backend.codegen.simd import (
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
    "scratch_size",
    "tiles_of",
    "transform_tiles",
    "winograd_tiles",
]

f4 = np.float32
BLOCK = 1 << 16  # numbers of a thread's transformed tiles, by tiles
SHARED = 4 << 20  # numbers of transformed tiles at a time, by panels


def panels(channels: int) -> int:
    """Return the number of panels of channels."""
    return -(-channels // PANEL)


def tiles_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of 4×4 tiles in a result (N, H, W, O)."""
    return -(-shape[1] // 4), -(-shape[2] // 4)


# Tiles -------------------------------------------------------------------------------------------


@njit
def transform_tiles(x, top, left, down, across, first, count, target, to, step, scratch):
    """Bᵀ d B of ``count`` tiles, written to ``target[to]``: (panel, 36, tile, PANEL).

    The tiles are ``step`` numbers in all, ``top`` and ``left`` the padding, ``down`` and ``across``
    the number of tiles; ``target`` and ``scratch`` are addresses.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    for tile in range(first, first + count):
        image, where = tile // (down * across), tile % (down * across)
        i, j = where // across * 4 - top, where % across * 4 - left
        if i >= 0 and i + 6 <= height and j >= 0 and j + 6 <= width:
            source = address(x, ((image * height + i) * width + j) * channels)
            row = width * channels
        else:
            source, row = address(scratch, SCRATCH), 6 * channels
            gather(x, image, i, j, 6, scratch, SCRATCH)
        k = to + (tile - first) * PANEL
        for c in range(0, -(-channels // PANEL) * PANEL, PANEL):
            some, rest = lanes_in(channels, c), lanes_in(channels, c + LANES)
            transform_image(source, c, row, channels, some, target, k, step, scratch)
            transform_image(
                source, c + LANES, row, channels, rest, target, k + LANES, step, scratch
            )
            k += 36 * step


@njit
def _finish_tiles(products, step, panel, first, count, y, bias, rectify, down, across, scratch):
    """Aᵀ m A of ``count`` tiles, with bias and relu, into one panel of the result."""
    height, width, channels = y.shape[1], y.shape[2], y.shape[3]
    for half in range(2):
        channel = panel * PANEL + half * LANES
        lanes = lanes_in(channels, channel)
        offset = load_some(bias, channel, lanes) if is_given(bias) else splat(f4(0.0))
        for tile in range(first, first + (count if lanes > 0 else 0)):
            untransform_result(products, (tile - first) * PANEL + half * LANES, step, scratch)
            image, where = tile // (down * across), tile % (down * across)
            top, left = where // across * 4, where % across * 4
            for i in range(min(4, height - top)):
                row = ((image * height + top + i) * width + left) * channels + channel
                for j in range(min(4, width - left)):
                    value = load(scratch, (4 * i + j) * LANES) + offset
                    value = relu(value) if rectify else value
                    store_some(y, row + j * channels, value, lanes)


@njit
def _multiply_tiles(
    function, count, transformed, step, filters, products, product_step, tables, pieces
):
    """36 products, (tiles, inputs) · (inputs, PANEL), one for each frequency, at addresses."""
    for f in range(36):
        multiply_panel(
            function, count, 2, address(transformed, f * step), PANEL, 1, tables,
            address(filters, f * MATRIX), PANEL, tables + 8 * pieces, pieces, PANEL,
            address(products, f * product_step), PANEL, 0,
        )  # fmt: skip


@njit
def _fill_tables(tables, chunk, pieces, step):
    """Where the panels of transformed tiles and the rows of filters that belong to them are.

    Return the address.
    """
    first = chunk * 2 * pieces
    for i in range(pieces):
        tables[first + i] = i * 36 * step
        tables[first + pieces + i] = i * 36 * MATRIX
    return address(tables, first)


@kernel
def winograd_by_tiles(
    chunk, start, stop, x: Quad, filters: Quad, bias: Nullable[Vector], y: Quad, top: int,
    left: int, down: int, across: int, rectify: int, function: int, block: int, transformed: Vector,
    products: Vector, scratch: Vector, size: int, tables: Integers,
):  # fmt: skip
    """Tiles ``start … stop`` of y, a block at a time through all three stages.

    The filters are transformed; each chunk has its own workspaces.
    """
    pieces, step = -(-x.shape[3] // PANEL), (block | 1) * PANEL
    own, table = address(scratch, chunk * size), _fill_tables(tables, chunk, pieces, step)
    image = address(transformed, chunk * pieces * 36 * step)
    product = address(products, chunk * 36 * step)
    for first in range(start, stop, block):
        count = min(block, stop - first)
        transform_tiles(x, top, left, down, across, first, count, image, 0, step, own)
        for panel in range(filters.shape[0]):
            _multiply_tiles(
                function, count, image, step, address(filters, panel * pieces * 36 * MATRIX),
                product, step, table, pieces,
            )  # fmt: skip
            _finish_tiles(product, step, panel, first, count, y, bias, rectify, down, across, own)


@kernel
def winograd_tiles(
    chunk, start, stop, x: Quad, top: int, left: int, down: int, across: int, first: int,
    transformed: Quad, scratch: Vector, size: int,
):  # fmt: skip
    """Transform tiles ``first + start … first + stop`` to (panel, 36, tile, PANEL)."""
    transform_tiles(
        x, top, left, down, across, first + start, stop - start, address(transformed, 0),
        start * PANEL, transformed.shape[2] * PANEL, address(scratch, chunk * size),
    )  # fmt: skip


@kernel
def winograd_by_panels(
    chunk, start, stop, weight: Quad, transformed: Quad, bias: Nullable[Vector], y: Quad,
    turned: int, down: int, across: int, rectify: int, function: int, begin: int, tiles: int,
    block: int, filters: Vector, products: Vector, scratch: Vector, tables: Integers,
):  # fmt: skip
    """Panels ``start … stop`` of y for tiles from ``begin`` on, which are already transformed.

    Each chunk has its own workspaces, one of them for transformed filters.
    """
    pieces, step = transformed.shape[0], transformed.shape[2] * PANEL
    product_step = (block | 1) * PANEL
    panel_filters = address(filters, chunk * pieces * 36 * MATRIX)
    product = address(products, chunk * 36 * product_step)
    own = address(scratch, chunk * FILTER_SCRATCH)
    table = _fill_tables(tables, chunk, pieces, step)
    for panel in range(start, stop):
        transform_panel(weight, turned, panel, panel_filters, own)
        for first in range(0, tiles, block):
            count = min(block, tiles - first)
            _multiply_tiles(
                function, count, address(transformed, first * PANEL), step, panel_filters, product,
                product_step, table, pieces,
            )  # fmt: skip
            _finish_tiles(
                product, product_step, panel, begin + first, count, y, bias, rectify, down, across,
                own,
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
        Negative: the image is cropped.
    turned, rectify : bool
        Rotate the filters by 180°; apply ReLU.
    """
    tiles = y.shape[0] * tiles_of(y.shape)[0] * tiles_of(y.shape)[1]
    if by_tiles(tiles, x.shape[3], y.shape[3]):
        _convolve_by_tiles(x, weight, bias, y, padding, turned, rectify, tiles)
    else:
        _convolve_by_panels(x, weight, bias, y, padding, turned, rectify, tiles)


def by_tiles(tiles: int, inputs: int, outputs: int) -> bool:
    """Return whether to compute by tiles: filters fit the cache, and every thread has blocks."""
    return inputs * outputs <= 1 << 16 and tiles >= 16 * thread_count()


def scratch_size(channels: int) -> int:
    """Return the size of the workspace of `transform_tiles`."""
    return SCRATCH + 36 * channels + LANES


def _convolve_by_tiles(
    x: Array, weight: Array, bias: Array | None, y: Array, padding: tuple[int, int], turned: bool,
    rectify: bool, tiles: int,
) -> None:  # fmt: skip
    pieces, outputs = panels(x.shape[3]), panels(y.shape[3])
    filters = empty((outputs, pieces * 36, PANEL + 1, PANEL))
    chunks = split(outputs)
    scratch = empty(chunks * FILTER_SCRATCH)
    launch(winograd_filters, weight, filters, turned, scratch, items=outputs, chunks=chunks)
    block = max(12, BLOCK // (36 * PANEL * pieces) // 12 * 12)
    chunks = split(tiles, 4)
    size = scratch_size(x.shape[3])
    launch(
        winograd_by_tiles, x, filters, bias, y, *padding, *tiles_of(y.shape), rectify,
        multiply_panel_address(), block, empty((chunks, pieces, 36, (block | 1) * PANEL)),
        empty((chunks, 36, (block | 1) * PANEL)), empty(chunks * size), size,
        empty(chunks * 2 * pieces, np.int64), items=tiles, chunks=chunks,
    )  # fmt: skip


def _convolve_by_panels(
    x: Array, weight: Array, bias: Array | None, y: Array, padding: tuple[int, int], turned: bool,
    rectify: bool, tiles: int,
) -> None:  # fmt: skip
    pieces, outputs = panels(x.shape[3]), panels(y.shape[3])
    shared = min(tiles, max(96, SHARED // (36 * PANEL * pieces)))
    shared = -(-tiles // -(-tiles // shared))  # equal parts
    transformed = empty((pieces, 36, shared | 1, PANEL))
    block, down, across = min(shared, 60), *tiles_of(y.shape)
    workers, size = split(outputs), scratch_size(x.shape[3])
    filters = empty((workers, pieces * 36, PANEL + 1, PANEL))
    products = empty((workers, 36, (block | 1) * PANEL))
    scratch = empty(workers * FILTER_SCRATCH)
    tables = empty(workers * 2 * pieces, np.int64)
    for first in range(0, tiles, shared):
        count = min(shared, tiles - first)
        chunks = split(count, 4)
        launch(
            winograd_tiles, x, *padding, down, across, first, transformed,
            empty(chunks * size), size, items=count, chunks=chunks,
        )  # fmt: skip
        launch(
            winograd_by_panels, weight, transformed, bias, y, turned, down, across, rectify,
            multiply_panel_address(), first, count, block, filters, products, scratch, tables,
            items=outputs, chunks=workers,
        )  # fmt: skip
