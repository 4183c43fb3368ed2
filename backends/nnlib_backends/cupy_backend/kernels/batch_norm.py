"""Launchers of ``batch_norm.cu``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib_backends.base import ANYWHERE, Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.launch import Launcher, as_matrix, mixed, wide
from nnlib_backends.cupy_backend.kernels.partial_sums import two_sums

__all__ = ["make_kernels"]

_FILE = "batch_norm"


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``batch_norm``."""

    def forward(x: Array, weight: Any, bias: Any, *, eps: float) -> tuple[Array, Any]:
        x, weight, bias = (_dense(launcher, a) for a in (x, weight, bias))
        mean, scale = _statistics(launcher, x, eps)
        y = launcher.empty(x.shape, x.dtype)
        _launch(launcher, "batch_norm_forward", x, mean, scale, weight, bias, y, like=x)
        return y, (mean, scale)

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Any, bias: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        mean, scale = saved
        x, weight, g = _dense(launcher, x), _dense(launcher, weight), launcher.dense(g, x.dtype)
        shape = as_matrix(x.shape)
        parts = launcher.empty((launcher.chunks(shape, x), 2, shape[1]), wide(x.dtype))
        _launch(launcher, "batch_norm_gradient_sums", g, x, mean, scale, parts, like=x)
        dx = launcher.grad_memory(grads_out[0], x.shape, x.dtype)
        by_x = dx is not None  # takes both sums
        outs = [ANYWHERE if by_x and out is None else out for out in grads_out[1:]]
        products, sums = two_sums(launcher, parts, *outs)
        if by_x:
            _launch(
                launcher, "batch_norm_backward", g, x, mean, scale, weight, products, sums, dx,
                like=x,
            )  # fmt: skip
        dw, db = (out and s for out, s in zip(grads_out[1:], (products, sums), strict=True))
        return dx, dw, db

    own = KernelPair(forward, backward, half=True, writes=True)
    return {"batch_norm": either(mixed, own, general["batch_norm"])}


def _dense(launcher: Launcher, x: Array | None) -> Array | None:
    return None if x is None else launcher.dense(x, x.dtype)


def _launch(launcher: Launcher, kernel: str, *args: Any, like: Array) -> None:
    """Launch on a matrix of the shape of ``like``, its rows in chunks."""
    shape = as_matrix(like.shape)
    chunks = launcher.chunks(shape, like)
    launcher.columns(_FILE, kernel, *args, shape=shape, chunks=chunks, like=like)


def _statistics(launcher: Launcher, x: Array, eps: float) -> tuple[Array, Array]:
    """Return the mean of every channel, and one over its standard deviation."""
    shape = as_matrix(x.shape)
    chunks = launcher.chunks(shape, x)
    parts = launcher.empty((chunks, 3, shape[1]), wide(x.dtype))
    _launch(launcher, "batch_norm_moments", x, parts, like=x)
    mean, scale = (launcher.empty(shape[1:], wide(x.dtype)) for _ in range(2))
    launcher.columns(
        _FILE, "batch_norm_statistics", parts, mean, scale, float(eps),
        shape=(chunks, shape[1]), chunks=1, like=x,
    )  # fmt: skip
    return mean, scale
