"""Launchers of ``batch_norm.cu``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnlib_backends.contract import Array, Kernel
from nnlib_backends.cupy_backend.kernels.columns import total
from nnlib_backends.cupy_backend.kernels.launcher import Launcher, as_matrix, either, real

__all__ = ["make_kernels"]

_FILE = "batch_norm"


def make_kernels(launcher: Launcher, general: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """Return ``batch_norm``."""

    def forward(x: Array, weight: Any, bias: Any, *, eps: float) -> tuple[Array, Any]:
        x, weight, bias = _dense(launcher, x, weight, bias)
        mean, scale = _statistics(launcher, x, eps)
        y = launcher.empty(x.shape, x.dtype)
        _launch(launcher, "batch_norm_forward", x, mean, scale, weight, bias, y, like=x)
        return y, (mean, scale)

    def backward(
        g: Array, saved: Any, needs: Sequence[Any], x: Array, weight: Any, bias: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        mean, scale = saved
        x, weight, g = _dense(launcher, x, weight, g)
        shape = as_matrix(x.shape)
        sums = launcher.empty((launcher.chunks(shape, x), 2, shape[1]), x.dtype)
        _launch(launcher, "batch_norm_gradient_sums", g, x, mean, scale, sums, like=x)
        sums = total(launcher, sums)
        dx = None
        if needs[0]:
            dx = launcher.empty(x.shape, x.dtype)
            _launch(launcher, "batch_norm_backward", g, x, mean, scale, weight, sums, dx, like=x)
        return dx, sums[0] if needs[1] else None, sums[1] if needs[2] else None

    return {"batch_norm": either(real, Kernel(forward, backward), general["batch_norm"])}


def _dense(launcher: Launcher, x: Array, *others: Array | None) -> list[Any]:
    return [None if a is None else launcher.dense(a, x.dtype) for a in (x, *others)]


def _launch(launcher: Launcher, kernel: str, *args: Any, like: Array) -> None:
    """Launch on a matrix of the shape of ``like``, its rows in chunks."""
    shape = as_matrix(like.shape)
    chunks = launcher.chunks(shape, like)
    launcher.columns(_FILE, kernel, *args, shape=shape, chunks=chunks, like=like)


def _statistics(launcher: Launcher, x: Array, eps: float) -> tuple[Array, Array]:
    """Mean of every channel, and one over its deviation."""
    shape = as_matrix(x.shape)
    chunks = launcher.chunks(shape, x)
    parts = launcher.empty((chunks, 3, shape[1]), x.dtype)
    _launch(launcher, "batch_norm_moments", x, parts, like=x)
    mean, scale = (launcher.empty(shape[1:], x.dtype) for _ in range(2))
    launcher.columns(
        _FILE, "batch_norm_statistics", parts, mean, scale, float(eps),
        shape=(chunks, shape[1]), chunks=1, like=x,
    )  # fmt: skip
    return mean, scale
