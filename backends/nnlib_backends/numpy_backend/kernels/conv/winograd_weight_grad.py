"""The gradient by the filters of a 3×3 convolution, by Winograd's F(4×4, 3×3).

The forward product ``M = V U`` of each frequency gives ``dU = Vᵀ dM``, a sum over tiles, where
dM is A dY Aᵀ; and ``dW = Gᵀ dU G``.  Filters and channels are taken by panels, so that dU of a
panel of one and a panel of the other, 36 small matrices, stays in cache from the first tile to the
last.

With few channels, each thread adds up the whole dU of its own tiles, so that transformed tiles
never leave its cache.  With many, the tiles are transformed once into shared memory, as many as
cache holds, and each thread takes some of the pairs of panels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen.arguments import (
    Integers,
    Quad,
    Vector,
    address,
    kernel,
    view,
)
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

PRIVATE = 1 << 18  # numbers of dU that a thread's cache holds
BLOCK = 12  # tiles at a time, where each thread has its own dU


@njit
def _transform_gradient(g, down, across, first, count, target, to, step, scratch):
    """A dY Aᵀ of ``count`` tiles, laid out as `transform_tiles` does."""
    height, width, channels = g.shape[1], g.shape[2], g.shape[3]
    pixels = view(g, 0, g.size)
    for tile in range(first, first + count):
        image, where = tile // (down * across), tile % (down * across)
        i, j = where // across * 4, where % across * 4
        source, place, row = scratch, SCRATCH, 4 * channels
        if i + 4 <= height and j + 4 <= width:
            source, row = pixels, width * channels
            place = ((image * height + i) * width + j) * channels
        else:
            gather(g, image, i, j, 4, scratch, place)
        k = to + (tile - first) * PANEL
        for c in range(0, -(-channels // PANEL) * PANEL, PANEL):
            some, rest = lanes_in(channels, c), lanes_in(channels, c + LANES)
            transform_result(source, place, row, channels, some, target, k, step, scratch)
            place += LANES
            transform_result(source, place, row, channels, rest, target, k + LANES, step, scratch)
            place += LANES
            k += 36 * step


@njit
def _multiply_pair(function, rows, tiles, gradients, o, transformed, c, step, du, first, zero, add):
    """``du[first:]``: 36 products (PANEL, tiles) · (tiles, PANEL) of a pair of panels."""
    for f in range(36):
        multiply_panel(
            function, rows, 2, address(gradients, (36 * o + f) * step), 1, PANEL, address(zero, 0),
            address(transformed, (36 * c + f) * step), PANEL, address(zero, 0), 1, tiles,
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
        g, down, across, first + start, stop - start, transformed, start * PANEL,
        transformed.shape[2] * PANEL, scratch[chunk * size :],
    )  # fmt: skip


@kernel
def winograd_gradient_by_pairs(
    chunk, start, stop, gradients: Quad, transformed: Quad, dw: Quad, tiles: int, add: int,
    function: int, work: Vector, zeros: Integers,
):  # fmt: skip
    """Pairs of panels ``start … stop``, of tiles already transformed; a workspace a chunk."""
    step, pieces = gradients.shape[2] * PANEL, transformed.shape[0]
    filters, channels = dw.shape[0], dw.shape[3]
    du, zero = work[chunk * (36 * MATRIX + SCRATCH) :], zeros[chunk:]
    scratch = du[36 * MATRIX :]
    zero[0] = 0
    for pair in range(start, stop):
        o, c = pair // pieces, pair % pieces
        rows = min(PANEL, filters - o * PANEL)
        _multiply_pair(function, rows, tiles, gradients, o, transformed, c, step, du, 0, zero, 0)
        _finish_pair(du, 0, o, c, dw, 0, filters, channels, add, scratch)


@kernel
def winograd_gradient_by_tiles(
    chunk, start, stop, x: Quad, g: Quad, parts: Quad, top: int, left: int, down: int, across: int,
    function: int, work: Vector, sums: Vector, scratch: Vector, size: int, zeros: Integers,
):  # fmt: skip
    """Tiles ``start … stop``, into a part (O, 9, C) of the gradient of each chunk's own.

    So are the workspaces: transformed tiles, dU, and the transforms' own.
    """
    filters, channels, step = g.shape[3], x.shape[3], (BLOCK + 1) * PANEL
    outputs, pieces = -(-filters // PANEL), -(-channels // PANEL)
    transformed = work[chunk * (outputs + pieces) * 36 * step :]
    gradients = transformed[pieces * 36 * step :]
    du, scratch = sums[chunk * outputs * pieces * 36 * MATRIX :], scratch[chunk * size :]
    zero = zeros[chunk:]
    zero[0] = 0
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        transform_tiles(x, top, left, down, across, first, count, transformed, 0, step, scratch)
        _transform_gradient(g, down, across, first, count, gradients, 0, step, scratch)
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
            False, scratch,
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
