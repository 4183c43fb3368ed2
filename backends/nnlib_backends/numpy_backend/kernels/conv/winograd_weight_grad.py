"""The gradient by the filters of a 3×3 convolution, by Winograd's F(4×4, 3×3).

The forward product ``M = V U`` of each frequency gives ``dU = Vᵀ dM``, a sum over tiles, where
dM is A dY Aᵀ; and ``dW = Gᵀ dU G``.  Filters and channels are divided into panels, so that dU of a
pair of panels, 36 small matrices, stays in cache for all tiles.

With few channels, each thread adds up the whole dU of its tiles, which stay in its cache.  With
many, as many tiles as cache holds are transformed once into shared memory, and each thread takes
some pairs of panels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import Integers, Quad, Vector, address, kernel
from nnlib_backends.numpy_backend.codegen.gemm import (
    PANEL,
    multiply_panel,
    multiply_panel_address,
)
from nnlib_backends.numpy_backend.codegen.partial_sums import parts_of, sum_parts
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load,
    load_some,
    store_some,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.conv.winograd import (
    SHARED,
    panels,
    scratch_size,
    tiles_of,
    transform_tiles,
    winograd_tiles,
)
from nnlib_backends.numpy_backend.kernels.conv.winograd_filters import MATRIX, lanes_in
from nnlib_backends.numpy_backend.kernels.conv.winograd_transforms import (
    SCRATCH,
    gather,
    transform_result,
    untransform_filter,
)  # fmt: skip
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["filter_gradient"]

PRIVATE = 1 << 18  # numbers of dU that fit a thread's cache
BLOCK = 12  # tiles at a time, if each thread has its own dU


@njit
def _transform_gradient(g, down, across, first, count, target, to, step, scratch):
    """A dY Aᵀ of ``count`` tiles, as `transform_tiles` lays them out."""
    height, width, channels = g.shape[1], g.shape[2], g.shape[3]
    for tile in range(first, first + count):
        image, where = tile // (down * across), tile % (down * across)
        i, j = where // across * 4, where % across * 4
        if i + 4 <= height and j + 4 <= width:
            source = address(g, ((image * height + i) * width + j) * channels)
            row = width * channels
        else:
            source, row = address(scratch, SCRATCH), 4 * channels
            gather(g, image, i, j, 4, scratch, SCRATCH)
        k = to + (tile - first) * PANEL
        for c in range(0, -(-channels // PANEL) * PANEL, PANEL):
            some, rest = lanes_in(channels, c), lanes_in(channels, c + LANES)
            transform_result(source, c, row, channels, some, target, k, step, scratch)
            transform_result(
                source, c + LANES, row, channels, rest, target, k + LANES, step, scratch
            )
            k += 36 * step


@njit
def _multiply_pair(function, rows, tiles, gradients, o, transformed, c, step, du, first, zero, add):
    """``du[first:]``: 36 products (PANEL, tiles) · (tiles, PANEL) of a pair of panels."""
    for f in range(36):
        multiply_panel(
            function, rows, 2, address(gradients, (36 * o + f) * step), 1, PANEL, zero,
            address(transformed, (36 * c + f) * step), PANEL, zero, 1, tiles,
            address(du, first + f * MATRIX), PANEL, add,
        )  # fmt: skip


@njit
def _finish_pair(du, first, o, c, dw, to, filters, channels, add, scratch):
    """Gᵀ dU G of a pair of panels, into (or added to) filters' gradient from ``dw[to]`` on."""
    for i in range(min(PANEL, filters - o * PANEL)):
        for half in range(2):
            channel = c * PANEL + half * LANES
            count = lanes_in(channels, channel)
            if count > 0:
                untransform_filter(du, first + i * PANEL + half * LANES, MATRIX, scratch)
                target = to + 9 * channels * (o * PANEL + i) + channel
                for tap in range(9):
                    value = load(scratch, tap * LANES)
                    if add:
                        value = value + load_some(dw, target, count)
                    store_some(dw, target, value, count)
                    target += channels


@kernel
def winograd_gradient_tiles(
    chunk, start, stop, g: Quad, down: int, across: int, first: int, transformed: Quad,
    scratch: Vector, size: int,
):  # fmt: skip
    """Transform tiles ``first + start … first + stop`` of g to (panel, 36, tile, PANEL)."""
    _transform_gradient(
        g, down, across, first + start, stop - start, address(transformed, 0), start * PANEL,
        transformed.shape[2] * PANEL, address(scratch, chunk * size),
    )  # fmt: skip


@kernel
def winograd_gradient_by_pairs(
    chunk, start, stop, gradients: Quad, transformed: Quad, dw: Quad, tiles: int, add: int,
    function: int, work: Vector, zeros: Integers,
):  # fmt: skip
    """Pairs of panels ``start … stop``, of tiles already transformed; a workspace a chunk."""
    step, pieces = gradients.shape[2] * PANEL, transformed.shape[0]
    filters, channels = dw.shape[0], dw.shape[3]
    du, zero = address(work, chunk * (36 * MATRIX + SCRATCH)), address(zeros, chunk)
    scratch, zeros[chunk] = address(du, 36 * MATRIX), 0
    for pair in range(start, stop):
        o, c = pair // pieces, pair % pieces
        rows = min(PANEL, filters - o * PANEL)
        _multiply_pair(
            function, rows, tiles, address(gradients, 0), o, address(transformed, 0), c, step, du,
            0, zero, 0,
        )  # fmt: skip
        _finish_pair(du, 0, o, c, dw, 0, filters, channels, add, scratch)


@kernel
def winograd_gradient_by_tiles(
    chunk, start, stop, x: Quad, g: Quad, parts: Quad, top: int, left: int, down: int, across: int,
    function: int, work: Vector, sums: Vector, scratch: Vector, size: int, zeros: Integers,
):  # fmt: skip
    """Tiles ``start … stop``, into each chunk's own part (O, 9, C) of the gradient.

    Workspaces of a chunk: transformed tiles, dU, and the transforms' own.
    """
    filters, channels, step = g.shape[3], x.shape[3], (BLOCK + 1) * PANEL
    outputs, pieces = -(-filters // PANEL), -(-channels // PANEL)
    transformed = address(work, chunk * (outputs + pieces) * 36 * step)
    gradients = address(transformed, pieces * 36 * step)
    du, own = address(sums, chunk * outputs * pieces * 36 * MATRIX), address(scratch, chunk * size)
    zero, zeros[chunk] = address(zeros, chunk), 0
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        transform_tiles(x, top, left, down, across, first, count, transformed, 0, step, own)
        _transform_gradient(g, down, across, first, count, gradients, 0, step, own)
        for pair in range(outputs * pieces):
            o, c = pair // pieces, pair % pieces
            _multiply_pair(
                function, min(PANEL, filters - o * PANEL), count, gradients, o, transformed, c,
                step, du, pair * 36 * MATRIX, zero, 1 if first > start else 0,
            )  # fmt: skip
    to = chunk * filters * 9 * channels
    for pair in range(outputs * pieces):
        _finish_pair(
            du, pair * 36 * MATRIX, pair // pieces, pair % pieces, parts, to, filters, channels,
            False, own,
        )  # fmt: skip


# Host --------------------------------------------------------------------------------------------


def filter_gradient(x: Array, g: Array, dw: Array, padding: tuple[int, int]) -> None:
    """Write the gradient by the filters into ``dw``.

    Parameters
    ----------
    x : (N, H, W, C)
    g : (N, H', W', O)
        Gradient by the result.
    dw : (O, 3, 3, C)
    padding : pair of int
    """
    pairs = panels(x.shape[3]) * panels(g.shape[3])
    if pairs * 36 * MATRIX <= PRIVATE:
        _by_tiles(x, g, dw, padding)
    else:
        _by_pairs(x, g, dw, padding)


def _by_tiles(x: Array, g: Array, dw: Array, padding: tuple[int, int]) -> None:
    down, across = tiles_of(g.shape)
    tiles, size = g.shape[0] * down * across, scratch_size(max(x.shape[3], g.shape[3]))
    chunks, pieces, outputs = parts_of(tiles, 2 * BLOCK), panels(x.shape[3]), panels(g.shape[3])
    parts = empty((chunks, dw.shape[0], 9, dw.shape[3]))
    launch(
        winograd_gradient_by_tiles, x, g, parts, *padding, down, across, multiply_panel_address(),
        empty((chunks, outputs + pieces, 36, (BLOCK + 1) * PANEL)),
        empty(chunks * outputs * pieces * 36 * MATRIX), empty(chunks * size), size,
        empty(chunks, np.int64), items=tiles, chunks=chunks,
    )  # fmt: skip
    sum_parts(parts, chunks, dw)


def _by_pairs(x: Array, g: Array, dw: Array, padding: tuple[int, int]) -> None:
    down, across = tiles_of(g.shape)
    tiles, size = g.shape[0] * down * across, scratch_size(max(x.shape[3], g.shape[3]))
    pieces, outputs = panels(x.shape[3]), panels(g.shape[3])
    shared = min(tiles, max(96, SHARED // (36 * PANEL * (pieces + outputs))))
    shared = -(-tiles // -(-tiles // shared))  # equal parts
    transformed = empty((pieces, 36, shared | 1, PANEL))
    gradients = empty((outputs, 36, shared | 1, PANEL))
    workers = split(pieces * outputs)
    du, zeros = empty(workers * (36 * MATRIX + SCRATCH)), empty(workers, np.int64)
    for first in range(0, tiles, shared):
        count = min(shared, tiles - first)
        chunks = split(count, 4)
        scratch = empty(chunks * size)
        launch(
            winograd_tiles, x, *padding, down, across, first, transformed, scratch, size,
            items=count, chunks=chunks,
        )  # fmt: skip
        launch(
            winograd_gradient_tiles, g, down, across, first, gradients, scratch, size,
            items=count, chunks=chunks,
        )  # fmt: skip
        launch(
            winograd_gradient_by_pairs, gradients, transformed, dw, count, first > 0,
            multiply_panel_address(), du, zeros, items=pieces * outputs, chunks=workers,
        )  # fmt: skip
