"""Launcher of ``dropout.cu``: both passes compute the mask from a key."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.common.philox import limit
from nnlib_backends.cupy_backend.kernels.launch import Launcher, mixed

__all__ = ["make_kernels"]


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``dropout``."""

    def drop(x: Array, key: Array, p: float, y: Array) -> None:
        scale = 1 / (1 - p) if p < 1 else 0.0
        launcher.elementwise(
            "dropout", "dropout", launcher.dense(x, y.dtype), y, launcher.dense(key, "int64"),
            limit(1 - p), float(scale), x.size, n=x.size, like=y,
        )  # fmt: skip

    def forward(x: Array, key: Array, *, p: float) -> tuple[Array, None]:
        y = launcher.empty(x.shape, x.dtype)
        drop(x, key, p, y)
        return y, None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, x: Array, key: Array, *, p: float
    ) -> tuple[Array | None, None]:
        dx = launcher.grad_memory(grads_out[0], x.shape, x.dtype)
        if dx is not None:
            drop(g, key, p, dx)
        return dx, None

    def served(x: Array, key: Array, *, p: float) -> bool:
        return mixed(x)

    own = KernelPair(forward, backward, half=True, writes=True)
    return {"dropout": either(served, own, general["dropout"])}
