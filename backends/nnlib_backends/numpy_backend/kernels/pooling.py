"""``max_pool2d`` and ``avg_pool2d`` on the CPU, a vector of channels at a time."""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.numpy_backend.codegen.arguments import Nullable, Quad, kernel
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, grad_memory
from nnlib_backends.numpy_backend.codegen.simd import (
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
def _read(x, index, count):
    return load(x, index) if count >= LANES else load_some(x, index, count)


@njit
def _write(x, index, value, count):
    if count >= LANES:
        store(x, index, value)
    else:
        store_some(x, index, value, count)


@kernel
def pool_rows(
    chunk, start, stop, x: Quad, y: Quad, mean: int, kh: int, kw: int, sh: int, sw: int, ph: int,
    pw: int,
):  # fmt: skip
    """Rows ``start … stop`` of all images' results (N, H', W', C): largest values, or means."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    share = splat(f4(1.0) / f4(kh * kw))
    for item in range(start, stop):
        image, row = item // y.shape[1], item % y.shape[1]
        top = row * sh - ph
        low, high = max(0, -top), min(kh, height - top)
        for column in range(y.shape[2]):
            left = column * sw - pw
            first, last = max(0, -left), min(kw, width - left)
            corner = ((image * height + top) * width + left) * channels
            target = (item * y.shape[2] + column) * channels
            for k in range(0, channels, LANES):
                value = splat(f4(0.0) if mean else MINUS_INFINITY)
                for i in range(low, high):
                    for j in range(first, last):
                        p = corner + (i * width + j) * channels + k
                        if mean:
                            value = value + _read(x, p, channels - k)
                        else:
                            value = larger(value, _read(x, p, channels - k))
                _write(y, target + k, value * share if mean else value, channels - k)


@njit
def _clear(x, first, size):
    """Set ``size`` numbers from ``first`` on to 0."""
    zero = splat(f4(0.0))
    for k in range(0, size, LANES):
        _write(x, first + k, zero, size - k)


@njit
def _share_maximum(g, y, x, dx, place, image, top, left, kh, kw, begin, end, alone):
    """Add one window's gradient to the first pixel that equals the maximum.

    Padding is −∞ and can be that pixel.  Only rows ``begin … end`` are written.  ``alone``: windows
    do not overlap, so pixels are written without being read.
    """
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    for k in range(0, channels, LANES):
        count = channels - k
        rest, best = _read(g, place + k, count), _read(y, place + k, count)
        for i in range(kh):
            for j in range(kw):
                row, column = top + i, left + j
                inside = 0 <= row < height and 0 <= column < width
                offset = ((image * height + row) * width + column) * channels + k
                value = _read(x, offset, count) if inside else splat(MINUS_INFINITY)
                if inside and begin <= row < end:
                    part = where_same(value, best, rest)
                    if not alone:
                        part = _read(dx, offset, count) + part
                    _write(dx, offset, part, count)
                rest = where_different(value, best, rest)


@njit
def _share_mean(g, dx, place, image, top, left, kh, kw, begin, end, alone):
    """Add an equal share of one window's gradient to every pixel, see `_share_maximum`."""
    height, width, channels = dx.shape[1], dx.shape[2], dx.shape[3]
    share = splat(f4(1.0) / f4(kh * kw))
    for k in range(0, channels, LANES):
        count = channels - k
        part = _read(g, place + k, count) * share
        for row in range(max(top, begin), min(top + kh, end)):
            for column in range(max(left, 0), min(left + kw, width)):
                p = ((image * height + row) * width + column) * channels + k
                _write(dx, p, part if alone else _read(dx, p, count) + part, count)


@kernel
def pool_gradient_rows(
    chunk, start, stop, g: Quad, y: Nullable[Quad], x: Quad, dx: Quad, mean: int, kh: int, kw: int,
    sh: int, sw: int, ph: int, pw: int,
):  # fmt: skip
    """Rows ``start … stop`` of all images' gradients (N, H, W, C), from g and y (N, H', W', C).

    Windows that reach beyond these rows are read by two threads, and each writes its own rows, so
    the sums do not depend on the chunks.
    """
    height, line = x.shape[1], x.shape[2] * x.shape[3]
    alone, item = sh >= kh and sw >= kw, start
    while item < stop:
        image, begin = item // height, item % height
        end = min(height, begin + stop - item)
        cleared = begin  # a row is cleared when the first window reaches it, to stay in cache
        for row in range(max(0, -(-(begin + ph - kh + 1) // sh)), g.shape[1]):
            top = row * sh - ph
            if top >= end:
                break
            reached = min(max(top + kh, begin), end)
            _clear(dx, (image * height + cleared) * line, (reached - cleared) * line)
            cleared = reached
            for column in range(g.shape[2]):
                left = column * sw - pw
                place = ((image * g.shape[1] + row) * g.shape[2] + column) * g.shape[3]
                if mean:
                    _share_mean(g, dx, place, image, top, left, kh, kw, begin, end, alone)
                else:
                    _share_maximum(g, y, x, dx, place, image, top, left, kh, kw, begin, end, alone)
        _clear(dx, (image * height + cleared) * line, (end - cleared) * line)
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
        g: Array, saved: Array | None, grads_out: GradsOut, x: Array, *, size: Pair,
        stride: Pair, padding: Pair,
    ) -> tuple[Array | None]:  # fmt: skip
        dx = grad_memory(grads_out[0], x.shape)
        if dx is not None:
            rows = x.shape[0] * x.shape[1]
            launch(
                pool_gradient_rows, dense(g), saved, dense(x), dx, mean, *size, *stride, *padding,
                items=rows, chunks=split(rows, 1 + ELEMENTS // max(x.shape[2] * x.shape[3], 1)),
            )  # fmt: skip
        return (dx,)

    return KernelPair(forward, backward, writes=True)


KERNELS = {"max_pool2d": _kernel(mean=False), "avg_pool2d": _kernel(mean=True)}
