"""The gradient by an image of few channels, which alone would fill few lanes of a vector.

With stride 1 the taps of a filter's row are neighbours in the image.  The product

    ``T[ox, (tap, channel)] = Σ g[oy, ox, o] · W[o, tap_y, tap, channel]``    over o and tap_y

fills more lanes; its rows, each shifted by a pixel, add up to a row of the image's gradient.
"""

from __future__ import annotations

import numpy as np

from nnlib_backends.numpy_backend.codegen.arguments import (
    Cube,
    Integers,
    Quad,
    Vector,
    address,
    kernel,
)
from nnlib_backends.numpy_backend.codegen.gemm import (
    PANEL,
    multiply_panel,
    multiply_panel_address,
)
from nnlib_backends.numpy_backend.codegen.simd import (
    LANES,
    load,
    load_some,
    splat,
    store,
    store_some,
)  # fmt: skip
from nnlib_backends.numpy_backend.kernels.conv.axes import Axis
from nnlib_backends.numpy_backend.kernels.conv.packing import pack, panel_width
from nnlib_backends.numpy_backend.launch import Array, empty, launch, split

__all__ = ["is_worthwhile", "spread"]

f4 = np.float32


@kernel
def spread_rows(
    chunk, start, stop, g: Quad, packed: Cube, dx: Quad, function: int, down: Axis, padding: int,
    size: int, scratch: Vector, tables: Integers,
):  # fmt: skip
    """Rows ``start … stop`` of one phase of all images' gradients.

    Workspace of a chunk: a product, a line of ``size`` numbers, two tables.
    """
    pixel, panel_row, taps = dx.shape[3], packed.shape[2], down.taps
    across, length = g.shape[2], g.shape[3]
    own, table = scratch[chunk * (across * panel_row + size) :], tables[2 * taps * chunk :]
    line = across * panel_row  # after the product
    for item in range(start, stop):
        image, row = item // down.positions, item % down.positions
        pieces = 0
        for tap in range(taps):
            y = down.base + row * down.step + tap * down.reach
            if 0 <= y < g.shape[1]:
                table[pieces] = y * across * length
                table[taps + pieces] = tap * length * panel_row
                pieces += 1
        multiply_panel(
            function, across, panel_row // LANES, address(g, image * g.shape[1] * across * length),
            length, 1, address(table, 0), address(packed, 0), panel_row, address(table, taps),
            pieces, length, address(own, 0), panel_row, 0,
        )  # fmt: skip
        for k in range(0, size, LANES):
            store(own, line + k, splat(f4(0.0)))
        for q in range(across):  # lanes beyond the taps are zeros
            for half in range(0, panel_row, LANES):
                p = line + q * pixel + half
                store(own, p, load(own, p) + load(own, q * panel_row + half))
        width = dx.shape[2] * pixel
        target = (image * dx.shape[1] + down.first + row * down.every) * width
        for k in range(0, width, LANES):
            value = load_some(own, line + padding * pixel + k, width - k)
            store_some(dx, target + k, value, width - k)


def is_worthwhile(weight: tuple[int, ...], stride: int, dilation: int, groups: int) -> bool:
    """Return whether to use this algorithm, by filters' shape (O, kh, kw, C) and options."""
    fits = weight[3] < LANES and weight[2] > 1 and weight[2] * weight[3] <= PANEL
    return fits and (stride, dilation, groups) == (1, 1, 1)


def spread(g: Array, weight: Array, dx: Array, rows: Axis, padding: int) -> None:
    """Write the rows of an axis into ``dx``.

    Parameters
    ----------
    g : (N, H', W', O)
    weight : (O, kh, kw, C)
    dx : (N, H, W, C)
    rows : Axis
        One of `direct.phases`.
    padding : int
        To the left.
    """
    filters, kh, kw, channels = weight.shape
    one = Axis(1, 0, 1, 1, 0, 1, 1, 0, 1)
    packed = pack(weight.reshape(filters, kh, 1, kw * channels), rows, one, 1, turned=True)
    # a row of the image with its padding, and the excess of the last vectors
    width = max(g.shape[2] + kw, dx.shape[2] + padding)
    size = -(-(width * channels + 2 * PANEL) // LANES) * LANES
    items = dx.shape[0] * rows.positions
    chunks = split(items, 1 + 20000 // max(g.shape[2] * filters * kh * PANEL, 1))
    scratch = empty(chunks * (g.shape[2] * panel_width(kw * channels) + size))
    launch(
        spread_rows, g, packed, dx, multiply_panel_address(), *rows, padding, size, scratch,
        empty(chunks * 2 * max(rows.taps, 1), np.int64), items=items, chunks=chunks,
    )  # fmt: skip
