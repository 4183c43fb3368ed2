"""The gradient by an image of few channels, which would fill few lanes of a vector.

With stride 1 the taps of a filter's row lie side by side in the image: the product

    ``T[ox, (tap, channel)] = Σ g[oy, ox, o] · W[o, tap_y, tap, channel]``    over o and tap_y

fills more lanes, and its rows, each a pixel further on than the one before, add up to a row of the
image's gradient.
"""

from __future__ import annotations

import numpy as np

from nnlib_backends.numpy_backend.codegen.arguments import (
    address,
    cube,
    integer,
    integers,
    kernel,
    quad,
)  # fmt: skip
from nnlib_backends.numpy_backend.codegen.gemm import PANEL, multiply, multiply_address
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
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
def spread_rows(t, chunk, start, stop):
    """Rows ``start … stop`` of one phase of all images' gradients."""
    g, packed, dx = quad(t, 0), cube(t, 1), quad(t, 2)
    down, first, every, step = integer(t, 4), integer(t, 5), integer(t, 6), integer(t, 7)
    base, taps, reach, padding = integer(t, 8), integer(t, 9), integer(t, 10), integer(t, 13)
    pixel, panel_row = 4 * dx.shape[3], 4 * packed.shape[2]
    size, across, length = integer(t, 14), g.shape[2], g.shape[3]
    product = address(t, 15) + chunk * (across * panel_row + size)
    line = product + across * panel_row
    tables, table = integers(t, 16)[2 * taps * chunk :], address(t, 16) + 16 * taps * chunk
    for item in range(start, stop):
        image, row = item // down, item % down
        pieces = 0
        for tap in range(taps):
            y = base + row * step + tap * reach
            if 0 <= y < g.shape[1]:
                tables[pieces] = y * across * length * 4
                tables[taps + pieces] = tap * length * panel_row
                pieces += 1
        multiply(
            integer(t, 3), across, packed.shape[2] // LANES,
            address(t, 0) + image * g.shape[1] * across * length * 4, 4 * length, 4, table,
            address(t, 1), panel_row, table + 8 * taps, pieces, length, product, panel_row, 0,
        )  # fmt: skip
        for k in range(0, size, BYTES):
            store(line + k, splat(f4(0.0)))
        for q in range(across):  # lanes beyond the taps are zeros
            for half in range(0, panel_row, BYTES):
                p = line + q * pixel + half
                store(p, load(p) + load(product + q * panel_row + half))
        target = address(t, 2) + (image * dx.shape[1] + first + row * every) * dx.shape[2] * pixel
        for k in range(0, dx.shape[2] * pixel, BYTES):
            count = (dx.shape[2] * pixel - k) // 4
            store_some(target + k, load_some(line + padding * pixel + k, count), count)


def is_worthwhile(weight: tuple[int, ...], stride: int, dilation: int, groups: int) -> bool:
    """Whether to compute so: filters' shape (O, kh, kw, C), and options along the width."""
    fits = weight[3] < LANES and weight[2] > 1 and weight[2] * weight[3] <= PANEL
    return fits and (stride, dilation, groups) == (1, 1, 1)


def spread(g: Array, weight: Array, dx: Array, rows: Axis, padding: int) -> None:
    """Write into ``dx`` the rows that the axis says.

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
    # a row of the image with its padding, and what the last vectors reach beyond
    width = max(g.shape[2] + kw, dx.shape[2] + padding)
    size = -(-(width * channels + 2 * PANEL) // LANES) * BYTES
    items = dx.shape[0] * rows.positions
    chunks = split(items, 1 + 20000 // max(g.shape[2] * filters * kh * PANEL, 1))
    scratch = empty(chunks * (g.shape[2] * panel_width(kw * channels) + size // 4))
    launch(
        spread_rows, g, packed, dx, multiply_address(), *rows, padding, size, scratch,
        empty(chunks * 2 * max(rows.taps, 1), np.int64), items=items, chunks=chunks,
    )  # fmt: skip
