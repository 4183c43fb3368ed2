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

from nnlib_backends.numpy_backend.codegen.arguments import address, integer, integers, kernel, quad
from nnlib_backends.numpy_backend.codegen.gemm import (
    PANEL,
    PANEL_BYTES,
    multiply,
    multiply_address,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.partial_sums import parts_of, sum_parts
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    LANES,
    load,
    load_some,
    store_some,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.conv.winograd import (
    SHARED,
    panels,
    scratch_bytes,
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

PRIVATE = 1 << 20  # bytes of dU that a thread's cache holds
BLOCK = 12  # tiles at a time, where each thread has its own dU


@njit
def _transform_gradient(g, place, down, across, first, count, target, step, scratch):
    """A dY Aᵀ of ``count`` tiles, laid out as `transform_tiles` does."""
    height, width, pixel, edge = g.shape[1], g.shape[2], 4 * g.shape[3], scratch + SCRATCH
    for tile in range(first, first + count):
        one, where = tile // (down * across), tile % (down * across)
        y, x = where // across * 4, where % across * 4
        source, row = place + one * height * width * pixel, width * pixel
        if y + 4 <= height and x + 4 <= width:
            source += y * row + x * pixel
        else:
            gather(source, height, width, pixel, y, x, 4, edge)
            source, row = edge, 4 * pixel
        to = target + (tile - first) * PANEL_BYTES
        for c in range(0, -(-g.shape[3] // PANEL) * PANEL, PANEL):
            transform_result(source, row, pixel, lanes_in(g.shape[3], c), to, step, scratch)
            source += BYTES
            count_two = lanes_in(g.shape[3], c + LANES)
            transform_result(source, row, pixel, count_two, to + BYTES, step, scratch)
            source += BYTES
            to += 36 * step


@njit
def _multiply_pair(function, rows, tiles, gradients, transformed, step, du, zero, add):
    """DU of a pair of panels: 36 products (PANEL, tiles) · (tiles, PANEL)."""
    for f in range(36):
        multiply(
            function, rows, 2, gradients + f * step, 4, PANEL_BYTES, zero, transformed + f * step,
            PANEL_BYTES, zero, 1, tiles, du + f * MATRIX, PANEL_BYTES, add,
        )  # fmt: skip


@njit
def _finish_pair(du, filters, channels, o, c, dw, add, scratch):
    """Gᵀ dU G of a pair of panels, into (or added to) the filters' gradient."""
    for i in range(min(PANEL, filters - o * PANEL)):
        for half in range(2):
            channel = c * PANEL + half * LANES
            count = lanes_in(channels, channel)
            if count > 0:
                untransform_filter(du + i * PANEL_BYTES + half * BYTES, MATRIX, scratch)
                target = dw + 4 * (9 * channels * (o * PANEL + i) + channel)
                for tap in range(9):
                    value = load(scratch + tap * BYTES)
                    if add:
                        value = value + load_some(target, count)
                    store_some(target, value, count)
                    target += 4 * channels


@kernel
def winograd_gradient_tiles(t, chunk, start, stop):
    """Transform tiles ``first + start … first + stop`` of the result's gradient."""
    _transform_gradient(
        quad(t, 0), address(t, 0), integer(t, 1), integer(t, 2), integer(t, 3) + start,
        stop - start, address(t, 4) + start * PANEL_BYTES, integer(t, 7) * PANEL_BYTES,
        address(t, 5) + chunk * integer(t, 6),
    )  # fmt: skip


@kernel
def winograd_gradient_by_pairs(t, chunk, start, stop):
    """Pairs of panels ``start … stop``, of tiles already transformed."""
    gradients, transformed, dw = quad(t, 0), quad(t, 1), quad(t, 2)
    step, tiles, pieces = gradients.shape[2] * PANEL_BYTES, integer(t, 3), transformed.shape[0]
    du = address(t, 6) + chunk * (36 * MATRIX + SCRATCH)
    integers(t, 7)[chunk], zero = 0, address(t, 7) + 8 * chunk
    for pair in range(start, stop):
        o, c = pair // pieces, pair % pieces
        _multiply_pair(
            integer(t, 5), min(PANEL, dw.shape[0] - o * PANEL), tiles,
            address(t, 0) + o * 36 * step, address(t, 1) + c * 36 * step, step, du, zero, 0,
        )  # fmt: skip
        _finish_pair(
            du, dw.shape[0], dw.shape[3], o, c, address(t, 2), integer(t, 4) != 0, du + 36 * MATRIX
        )


@kernel
def winograd_gradient_by_tiles(t, chunk, start, stop):
    """Tiles ``start … stop``, into a part of the gradient of each chunk's own."""
    x, g, dw = quad(t, 0), quad(t, 1), quad(t, 2)  # dw: (O, 9, C) of every chunk
    down, across, function = integer(t, 5), integer(t, 6), integer(t, 7)
    integers(t, 12)[chunk], zero = 0, address(t, 12) + 8 * chunk
    filters, channels, step = g.shape[3], x.shape[3], (BLOCK + 1) * PANEL_BYTES
    outputs, pieces = -(-filters // PANEL), -(-channels // PANEL)
    transformed = address(t, 8) + chunk * (outputs + pieces) * 36 * step
    gradients = transformed + pieces * 36 * step
    du, scratch = address(t, 9) + chunk * outputs * pieces * 36 * MATRIX, address(t, 10)
    scratch += chunk * integer(t, 11)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        transform_tiles(
            address(t, 0), x.shape[1], x.shape[2], channels, integer(t, 3), integer(t, 4), down,
            across, first, count, transformed, step, scratch,
        )  # fmt: skip
        _transform_gradient(g, address(t, 1), down, across, first, count, gradients, step, scratch)
        for pair in range(outputs * pieces):
            o, c = pair // pieces, pair % pieces
            _multiply_pair(
                function, min(PANEL, filters - o * PANEL), count, gradients + o * 36 * step,
                transformed + c * 36 * step, step, du + pair * 36 * MATRIX, zero,
                1 if first > start else 0,
            )  # fmt: skip
    target = address(t, 2) + chunk * 4 * dw.shape[1] * dw.shape[2] * dw.shape[3]
    for pair in range(outputs * pieces):
        _finish_pair(
            du + pair * 36 * MATRIX, filters, channels, pair // pieces, pair % pieces, target,
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
    tiles, size = g.shape[0] * down * across, scratch_bytes(max(x.shape[3], g.shape[3]))
    chunks, pieces, outputs = parts_of(tiles, 2 * BLOCK), panels(x.shape[3]), panels(g.shape[3])
    parts = empty((chunks, dw.shape[0], 9, dw.shape[3]))
    launch(
        winograd_gradient_by_tiles, x, g, parts, *padding, down, across, multiply_address(),
        empty((chunks, outputs + pieces, 36, (BLOCK + 1) * PANEL)),
        empty(chunks * outputs * pieces * 36 * MATRIX // 4), empty(chunks * size // 4), size,
        empty(chunks, np.int64),        items=tiles, chunks=chunks,
    )  # fmt: skip
    sum_parts(parts, chunks, dw)


def _by_pairs(x: Array, g: Array, dw: Array, padding: tuple[int, int]) -> None:
    down, across = tiles_of(g.shape)
    tiles, size = g.shape[0] * down * across, scratch_bytes(max(x.shape[3], g.shape[3]))
    pieces, outputs = panels(x.shape[3]), panels(g.shape[3])
    shared = min(tiles, max(96, SHARED // (36 * PANEL_BYTES * (pieces + outputs))))
    shared = -(-tiles // -(-tiles // shared))  # equal parts
    transformed = empty((pieces, 36, shared | 1, PANEL))
    gradients = empty((outputs, 36, shared | 1, PANEL))
    workers = split(pieces * outputs)
    du, zeros = empty(workers * (36 * MATRIX + SCRATCH) // 4), empty(workers, np.int64)
    for first in range(0, tiles, shared):
        count = min(shared, tiles - first)
        chunks = split(count, 4)
        scratch = empty(chunks * size // 4)
        launch(
            winograd_tiles, x, *padding, down, across, first, transformed, scratch, size,
            shared | 1, items=count, chunks=chunks,
        )  # fmt: skip
        launch(
            winograd_gradient_tiles, g, down, across, first, gradients, scratch, size, shared | 1,
            items=count, chunks=chunks,
        )  # fmt: skip
        launch(
            winograd_gradient_by_pairs, gradients, transformed, dw, count, first > 0,
            multiply_address(), du, zeros, items=pieces * outputs, chunks=workers,
        )  # fmt: skip
