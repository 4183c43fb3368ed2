"""``max_pool2d`` and ``avg_pool2d`` on the CPU, a vector of channels at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import address, integer, kernel, quad
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, place
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    LANES,
    larger,
    load,
    load_some,
    splat,
    store,
    store_some,
    where_different,
    where_same,
)  # fmt: skip
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS"]

f4 = np.float32
MINUS_INFINITY = f4(-np.inf)
Pair = tuple[int, int]


@njit
def _read(p, count):
    return load(p) if count >= LANES else load_some(p, count)


@njit
def _write(p, value, count):
    if count >= LANES:
        store(p, value)
    else:
        store_some(p, value, count)


@kernel
def pool_rows(t, chunk, start, stop):
    """Rows ``start … stop`` of all images' results: the largest values, or the means."""
    x, y, mean = quad(t, 0), quad(t, 1), integer(t, 2) != 0
    kh, kw, sh, sw = integer(t, 3), integer(t, 4), integer(t, 5), integer(t, 6)
    ph, pw = integer(t, 7), integer(t, 8)
    height, width, channels, pixel = x.shape[1], x.shape[2], x.shape[3], 4 * x.shape[3]
    share = splat(f4(1.0) / f4(kh * kw))
    for item in range(start, stop):
        image, row = item // y.shape[1], item % y.shape[1]
        top = row * sh - ph
        low, high = max(0, -top), min(kh, height - top)
        for column in range(y.shape[2]):
            left = column * sw - pw
            first, last = max(0, -left), min(kw, width - left)
            corner = address(t, 0) + ((image * height + top) * width + left) * pixel
            target = address(t, 1) + (item * y.shape[2] + column) * pixel
            for k in range(0, channels, LANES):
                value = splat(f4(0.0) if mean else MINUS_INFINITY)
                for i in range(low, high):
                    for j in range(first, last):
                        p = corner + (i * width + j) * pixel + 4 * k
                        if mean:
                            value = value + _read(p, channels - k)
                        else:
                            value = larger(value, _read(p, channels - k))
                _write(target + 4 * k, value * share if mean else value, channels - k)


@njit
def _clear(target, size):
    zero = splat(f4(0.0))
    for k in range(0, size, BYTES):
        _write(target + k, zero, (size - k) // 4)


@njit
def _share_maximum(g, y, image, dx, channels, top, left, kh, kw, height, width, begin, end, alone):
    """Give one window's gradient to the first pixel that equals the maximum.

    Padding is −∞ and can be that pixel.  Only rows ``begin … end`` are written.  Pixels of one
    window alone need not be read before.
    """
    for k in range(0, channels, LANES):
        count = channels - k
        rest, best = _read(g + 4 * k, count), _read(y + 4 * k, count)
        for i in range(kh):
            for j in range(kw):
                row, column = top + i, left + j
                inside = 0 <= row < height and 0 <= column < width
                offset = 4 * ((row * width + column) * channels + k)
                value = _read(image + offset, count) if inside else splat(MINUS_INFINITY)
                if inside and begin <= row < end:
                    part = where_same(value, best, rest)
                    if not alone:
                        part = _read(dx + offset, count) + part
                    _write(dx + offset, part, count)
                rest = where_different(value, best, rest)


@njit
def _share_mean(g, dx, channels, top, left, kh, kw, height, width, begin, end, alone):
    """Give every pixel of a window an equal share, as `_share_maximum` does."""
    share = splat(f4(1.0) / f4(kh * kw))
    for k in range(0, channels, LANES):
        count = channels - k
        part = _read(g + 4 * k, count) * share
        for row in range(max(top, begin), min(top + kh, end)):
            for column in range(max(left, 0), min(left + kw, width)):
                p = dx + 4 * ((row * width + column) * channels + k)
                _write(p, part if alone else _read(p, count) + part, count)


@kernel
def pool_gradient_rows(t, chunk, start, stop):
    """Rows ``start … stop`` of all images' gradients.

    Windows that reach beyond these rows are looked at by two threads, and each writes its own rows:
    the sums do not depend on how the rows are shared out.
    """
    x, y, mean = quad(t, 2), quad(t, 0), integer(t, 4) != 0
    kh, kw, sh, sw = integer(t, 5), integer(t, 6), integer(t, 7), integer(t, 8)
    ph, pw = integer(t, 9), integer(t, 10)
    height, width, channels, pixel = x.shape[1], x.shape[2], x.shape[3], 4 * x.shape[3]
    alone, item = sh >= kh and sw >= kw, start
    while item < stop:
        image, begin = item // height, item % height
        end = min(height, begin + stop - item)
        base = image * height * width * pixel
        cleared = begin  # a row is cleared when the first window reaches it: it stays in cache
        for row in range(max(0, -(-(begin + ph - kh + 1) // sh)), y.shape[1]):
            top = row * sh - ph
            if top >= end:
                break
            reached = min(max(top + kh, begin), end)
            _clear(
                address(t, 3) + base + cleared * width * pixel, (reached - cleared) * width * pixel
            )
            cleared = reached
            for column in range(y.shape[2]):
                left = column * sw - pw
                place = ((image * y.shape[1] + row) * y.shape[2] + column) * pixel
                if mean:
                    _share_mean(
                        address(t, 0) + place, address(t, 3) + base, channels, top, left, kh, kw,
                        height, width, begin, end, alone,
                    )  # fmt: skip
                else:
                    _share_maximum(
                        address(t, 0) + place, address(t, 1) + place, address(t, 2) + base,
                        address(t, 3) + base, channels, top, left, kh, kw, height, width, begin,
                        end, alone,
                    )  # fmt: skip
        _clear(address(t, 3) + base + cleared * width * pixel, (end - cleared) * width * pixel)
        item += end - begin


# Host --------------------------------------------------------------------------------------------


def _kernel(mean: bool) -> KernelPair:
    def forward(x: Array, *, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array | None]:
        x = dense(x)
        rows, columns = (
            (length + 2 * p - k) // s + 1
            for length, k, s, p in zip(x.shape[1:3], size, stride, padding, strict=True)
        )
        y = empty((x.shape[0], rows, columns, x.shape[3]))
        chunks = split(x.shape[0] * rows, 1 + ELEMENTS // max(columns * x.shape[3], 1))
        launch(
            pool_rows, x, y, mean, *size, *stride, *padding, items=x.shape[0] * rows, chunks=chunks
        )
        return y, None if mean else y

    def backward(
        g: Array, saved: Array | None, needs: Sequence[Any], x: Array, *, size: Pair,
        stride: Pair, padding: Pair,
    ) -> tuple[Array | None]:  # fmt: skip
        dx = place(needs[0], x.shape)
        if dx is not None:
            rows = x.shape[0] * x.shape[1]
            launch(
                pool_gradient_rows, dense(g), saved, dense(x), dx, mean, *size, *stride, *padding,
                items=rows, chunks=split(rows, 1 + ELEMENTS // max(x.shape[2] * x.shape[3], 1)),
            )  # fmt: skip
        return (dx,)

    return KernelPair(forward, backward)


KERNELS = {"max_pool2d": _kernel(mean=False), "avg_pool2d": _kernel(mean=True)}
