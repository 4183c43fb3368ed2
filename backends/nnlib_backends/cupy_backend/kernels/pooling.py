"""Launchers of ``pooling.cu``: max and average pooling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.common.im2col import Pair
from nnlib_backends.cupy_backend.kernels.launch import Launcher, mixed

__all__ = ["make_kernels"]

_FILE = "pooling"
_MOST_POSITIONS = 255  # of a window, because the position of a maximum is stored in a byte
_MOST_NUMBERS = 1 << 31  # of an array, because kernels divide 32-bit indices


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``max_pool2d`` and ``avg_pool2d``."""
    own = {
        "max_pool2d": _pooling(launcher, "max_pool", keeps_winners=True),
        "avg_pool2d": _pooling(launcher, "avg_pool", keeps_winners=False),
    }
    return {name: either(_served, kernel, general[name]) for name, kernel in own.items()}


def _pooling(launcher: Launcher, name: str, *, keeps_winners: bool) -> KernelPair:
    """Return a kernel pair; ``winners`` are the positions of the maxima in their windows."""

    def forward(x: Array, **window: Pair) -> tuple[Array, Array | None]:
        y = launcher.empty(_result(x, **window), x.dtype)
        winners = launcher.empty(y.shape, "uint8") if keeps_winners else None
        results = (y,) if winners is None else (y, winners)
        _launch(launcher, f"{name}_forward", launcher.dense(x, x.dtype), *results,
                x=x, n=y.size, window=window)  # fmt: skip
        return y, winners

    def backward(
        g: Array, winners: Array | None, grads_out: GradsOut, x: Array, **window: Pair
    ) -> tuple[Array | None]:
        dx = launcher.grad_memory(grads_out[0], x.shape, x.dtype)
        if dx is None:
            return (None,)
        given = (launcher.dense(g, x.dtype), *(() if winners is None else (winners,)))
        _launch(launcher, f"{name}_backward", *given, dx, x=x, n=x.size, window=window)
        return (dx,)

    return KernelPair(forward, backward, half=True, writes=True)


def _served(x: Array, *, size: Pair, stride: Pair, padding: Pair) -> bool:
    """Tell whether kernels support the arrays: every window has a pixel, and sizes are limited."""
    result = _result(x, size=size, stride=stride, padding=padding)
    return (
        mixed(x)
        and max(x.size, math.prod(result)) < _MOST_NUMBERS
        and size[0] * size[1] <= _MOST_POSITIONS
        and padding[0] < size[0]
        and padding[1] < size[1]
        and min(result) > 0
    )


def _result(x: Array, *, size: Pair, stride: Pair, padding: Pair) -> tuple[int, ...]:
    rows, columns = (
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(x.shape[1:3], size, stride, padding, strict=True)
    )
    return x.shape[0], rows, columns, x.shape[3]


def _launch(
    launcher: Launcher, kernel: str, *args: Any, x: Array, n: int, window: dict[str, Pair]
) -> None:
    _, rows, columns, _ = _result(x, **window)
    geometry = (*x.shape, rows, columns, *window["size"], *window["stride"], *window["padding"])
    launcher.elementwise(_FILE, kernel, *args, *geometry, n=n, like=x)
