"""Dropout, whose mask both passes compute from the position in the random stream."""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.common import philox
from nnlib_backends.numpy_backend.codegen.arguments import Integers, Vector, kernel
from nnlib_backends.numpy_backend.codegen.host import grad_memory, long_integers, require
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS"]

f4, u8 = np.float32, np.uint64
ZERO = f4(0.0)
LOW, HALF = u8(0xFFFFFFFF), u8(32)
M0, M1, W0, W1 = (u8(c) for c in (philox.M0, philox.M1, philox.W0, philox.W1))
ROUNDS = philox.ROUNDS
COUNTERS = 1 << 13  # counters of a chunk, at least; each gives four numbers


@njit(forceinline=True)
def words(key0, key1, counter):
    """Four words of the stream: Philox4x32-10, see `nnlib_backends.common.philox`."""
    c0, c1, c2, c3 = counter & LOW, counter >> HALF, u8(0), u8(0)
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ key0, p1 & LOW, (p0 >> HALF) ^ c3 ^ key1, p0 & LOW
        key0, key1 = (key0 + W0) & LOW, (key1 + W1) & LOW
    return c0, c1, c2, c3


@kernel
def dropout_apply(
    chunk, start, stop, x: Vector, y: Vector, key: Integers, limit: int, factor: float
):
    """Keep numbers of x whose words are below the limit, times the factor; key: seed, offset."""
    seed, offset = u8(key[0]), u8(key[1])
    bound = u8(limit)
    key0, key1 = seed & LOW, seed >> HALF
    whole = min(stop, x.size // 4)
    source, target = x[4 * start : 4 * whole], y[4 * start : 4 * whole]
    first = offset + u8(start)
    for i in range(source.size // 4):
        a, b, c, d = words(key0, key1, first + u8(i))
        # not multiplied by 0, because an infinity would become NaN
        target[4 * i] = source[4 * i] * factor if a < bound else ZERO
        target[4 * i + 1] = source[4 * i + 1] * factor if b < bound else ZERO
        target[4 * i + 2] = source[4 * i + 2] * factor if c < bound else ZERO
        target[4 * i + 3] = source[4 * i + 3] * factor if d < bound else ZERO
    if whole < stop:  # the last counter, of which not all words are used
        last = words(key0, key1, offset + u8(whole))
        for i in range(x.size - 4 * whole):
            word = last[0] if i == 0 else last[1] if i == 1 else last[2]
            y[4 * whole + i] = x[4 * whole + i] * factor if word < bound else ZERO


def _apply(x: Array, y: Array, key: Array, p: float) -> None:
    counters = -(-x.size // 4)
    launch(
        dropout_apply, dense(x), y, long_integers(key), philox.limit(1 - p),
        1 / (1 - p) if p < 1 else 1.0, items=counters, chunks=split(counters, COUNTERS),
    )  # fmt: skip


def _forward(x: Array, key: Array, *, p: float) -> tuple[Array, None]:
    require(key.shape == (2,), "a key of two integers")
    y = empty(x.shape)
    _apply(x, y, key, p)
    return y, None


def _backward(
    g: Array, saved: None, grads_out: GradsOut, x: Array, key: Array, *, p: float
) -> tuple[Array | None, None]:
    dx = grad_memory(grads_out[0], x.shape)
    if dx is not None:
        _apply(g, dx, key, p)
    return dx, None


KERNELS: dict[str, KernelPair] = {"dropout": KernelPair(_forward, _backward, writes=True)}
