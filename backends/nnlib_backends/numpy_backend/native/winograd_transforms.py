"""Winograd's F(4×4, 3×3): sixteen results of a 3×3 convolution from 36 products instead of 144.

Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308,
section 4.3.  With tiles d of 6×6 pixels, filters g of 3×3 and results Y of 4×4:

    Y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A

Here are the one-dimensional transforms, and the two-dimensional ones applied to a vector of
channels at once.  The filters' gradient needs the adjoints: A y Aᵀ of the results' gradient, and
Gᵀ u G, which turns the gradient by a transformed filter into that by the filter.

Transformed tiles lie in *panels* (multiply.PANEL channels): (panel, frequency, tile, channel), the
36 frequencies being the elements of a transformed tile.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.native.vectors import BYTES, load, load_some, splat, store

__all__ = [
    "SCRATCH", "gather", "transform_filter", "transform_image", "transform_result",
    "untransform_filter", "untransform_result",
]  # fmt: skip

f4 = np.float32
SCRATCH = 36 * BYTES  #: bytes that a two-dimensional transform needs in between


@njit
def _image(a, b, c, d, e, f):
    """Bᵀ: 6 → 6."""
    two, four, five = splat(f4(2.0)), splat(f4(4.0)), splat(f4(5.0))
    p, q = e - four * c, d - four * b
    r, s = e - c, two * (d - b)
    return four * a - five * c + e, p + q, p - q, r + s, r - s, four * b - five * d + f


@njit
def _result(a, b, c, d, e, f):
    """Aᵀ: 6 → 4."""
    s, t, u, v = b + c, b - c, d + e, d - e
    return (
        a + s + u,
        t + splat(f4(2.0)) * v,
        s + splat(f4(4.0)) * u,
        t + splat(f4(8.0)) * v + f,
    )


@njit
def _result_adjoint(a, b, c, d):
    """A: 4 → 6."""
    four = splat(f4(4.0))
    p, q = a + c, b + d
    r, s = a + four * c, splat(f4(2.0)) * (b + four * d)
    return a, p + q, p - q, r + s, r - s, d


@njit
def _filter(a, b, c):
    """G: 3 → 6."""
    sixth, twelfth = splat(f4(1 / 6)), splat(f4(1 / 12))
    p, q = (a + c) * sixth, b * sixth
    r, s = a * splat(f4(1 / 24)) + c * sixth, b * twelfth
    zero = splat(f4(0.0))
    return a * splat(f4(0.25)), zero - p - q, q - p, r + s, r - s, c


@njit
def _filter_adjoint(a, b, c, d, e, f):
    """Gᵀ: 6 → 3."""
    sixth = splat(f4(1 / 6))
    s, t = (b + c) * sixth, d + e
    return (
        a * splat(f4(0.25)) - s + t * splat(f4(1 / 24)),
        (c - b) * sixth + (d - e) * splat(f4(1 / 12)),
        t * sixth - s + f,
    )


@njit
def transform_image(source, row, pixel, count, target, step, scratch):
    """Bᵀ d B of 6×6 pixels at an address; of ``count`` channels, the others being zeros.

    The 36 vectors go to ``target``, ``target + step``, …; ``row`` and ``pixel`` are strides.
    """
    for j in range(6):
        p = source + j * pixel
        a, b, c = load_some(p, count), load_some(p + row, count), load_some(p + 2 * row, count)
        p += 3 * row
        d, e, f = load_some(p, count), load_some(p + row, count), load_some(p + 2 * row, count)
        p = scratch + j * BYTES
        a, b, c, d, e, f = _image(a, b, c, d, e, f)
        store(p, a)
        store(p + 6 * BYTES, b)
        store(p + 12 * BYTES, c)
        store(p + 18 * BYTES, d)
        store(p + 24 * BYTES, e)
        store(p + 30 * BYTES, f)
    for i in range(6):
        p, q = scratch + 6 * i * BYTES, target + 6 * i * step
        a, b, c, d, e, f = _image(*_six(p, BYTES))
        _store_six(q, step, a, b, c, d, e, f)


@njit
def transform_result(source, row, pixel, count, target, step, scratch):
    """A y Aᵀ of 4×4 pixels, otherwise like `transform_image`."""
    for j in range(4):
        p = source + j * pixel
        a, b = load_some(p, count), load_some(p + row, count)
        c, d = load_some(p + 2 * row, count), load_some(p + 3 * row, count)
        a, b, c, d, e, f = _result_adjoint(a, b, c, d)
        _store_six(scratch + j * BYTES, 4 * BYTES, a, b, c, d, e, f)
    for i in range(6):
        p, q = scratch + 4 * i * BYTES, target + 6 * i * step
        a, b, c, d = load(p), load(p + BYTES), load(p + 2 * BYTES), load(p + 3 * BYTES)
        a, b, c, d, e, f = _result_adjoint(a, b, c, d)
        _store_six(q, step, a, b, c, d, e, f)


@njit
def untransform_result(source, step, scratch):
    """Aᵀ m A of 36 vectors: 16 vectors, left in ``scratch``."""
    for j in range(6):
        a, b, c, d = _result(*_six(source + j * step, 6 * step))
        p = scratch + j * BYTES
        store(p, a)
        store(p + 6 * BYTES, b)
        store(p + 12 * BYTES, c)
        store(p + 18 * BYTES, d)
    for i in range(4):
        a, b, c, d = _result(*_six(scratch + 6 * i * BYTES, BYTES))
        p = scratch + 4 * i * BYTES  # these have been read
        store(p, a)
        store(p + BYTES, b)
        store(p + 2 * BYTES, c)
        store(p + 3 * BYTES, d)


@njit
def transform_filter(source, tap, count, turned, target, step, scratch):
    """G g Gᵀ of nine vectors ``tap`` bytes apart, turned by 180° if asked; 36 vectors."""
    first, tap = (source + 8 * tap, -tap) if turned else (source, tap)
    for j in range(3):
        p = first + j * tap
        a, b = load_some(p, count), load_some(p + 3 * tap, count)
        a, b, c, d, e, f = _filter(a, b, load_some(p + 6 * tap, count))
        _store_six(scratch + j * BYTES, 3 * BYTES, a, b, c, d, e, f)
    for i in range(6):
        p = scratch + 3 * i * BYTES
        a, b, c, d, e, f = _filter(load(p), load(p + BYTES), load(p + 2 * BYTES))
        _store_six(target + 6 * i * step, step, a, b, c, d, e, f)


@njit
def untransform_filter(source, step, scratch):
    """Gᵀ u G of 36 vectors: nine vectors, left in ``scratch``."""
    for j in range(6):
        a, b, c = _filter_adjoint(*_six(source + j * step, 6 * step))
        p = scratch + j * BYTES
        store(p, a)
        store(p + 6 * BYTES, b)
        store(p + 12 * BYTES, c)
    for i in range(3):
        a, b, c = _filter_adjoint(*_six(scratch + 6 * i * BYTES, BYTES))
        p = scratch + 3 * i * BYTES
        store(p, a)
        store(p + BYTES, b)
        store(p + 2 * BYTES, c)


@njit
def _six(p, step):
    return (
        load(p),
        load(p + step),
        load(p + 2 * step),
        load(p + 3 * step),
        load(p + 4 * step),
        load(p + 5 * step),
    )


@njit
def _store_six(p, step, a, b, c, d, e, f):
    store(p, a)
    store(p + step, b)
    store(p + 2 * step, c)
    store(p + 3 * step, d)
    store(p + 4 * step, e)
    store(p + 5 * step, f)


@njit
def gather(image, height, width, pixel, top, left, size, target):
    """Copy size × size pixels of an image, zeros where it has none; pixels are ``pixel`` bytes."""
    zero = splat(f4(0.0))
    for i in range(size):
        for j in range(size):
            y, x = top + i, left + j
            inside = 0 <= y < height and 0 <= x < width
            p = image + (y * width + x) * pixel
            q = target + (i * size + j) * pixel
            for k in range(0, pixel, BYTES):
                # writes a little beyond the pixel, where the next one will be written
                store(q + k, load_some(p + k, (pixel - k) // 4) if inside else zero)
