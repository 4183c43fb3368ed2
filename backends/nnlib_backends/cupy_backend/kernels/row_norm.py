"""Launchers of ``row_norm.cu``: layer norm and RMS norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.launch import Launcher, as_matrix, mixed, wide
from nnlib_backends.cupy_backend.kernels.partial_sums import two_sums

__all__ = ["make_kernels"]

_FILE = "row_norm"


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``layer_norm`` and ``rms_norm``."""

    def layer_backward(
        g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Any, bias: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        return _backward(launcher, g, saved, grads_out, x, weight)

    def rms_backward(
        g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        return _backward(launcher, g, saved, (*grads_out, None), x, weight)[:2]

    def layer_forward(x: Array, weight: Any, bias: Any, *, eps: float) -> tuple[Array, Any]:
        return _forward(launcher, x, weight, bias, eps, centred=True)

    def rms_forward(x: Array, weight: Any, *, eps: float) -> tuple[Array, Any]:
        return _forward(launcher, x, weight, None, eps, centred=False)

    own = {
        "layer_norm": KernelPair(layer_forward, layer_backward, half=True, writes=True),
        "rms_norm": KernelPair(rms_forward, rms_backward, half=True, writes=True),
    }
    return {name: either(mixed, kernel, general[name]) for name, kernel in own.items()}


def _forward(
    launcher: Launcher, x: Array, weight: Any, bias: Any, eps: float, *, centred: bool
) -> tuple[Array, tuple[Array | None, Array]]:
    shape = as_matrix(x.shape)
    y = launcher.empty(x.shape, x.dtype)
    scale = launcher.empty((shape[0],), wide(x.dtype))
    mean = launcher.empty((shape[0],), wide(x.dtype)) if centred else None
    dense = [None if a is None else launcher.dense(a, a.dtype) for a in (x, weight, bias)]
    launcher.rows(
        _FILE, "row_norm_forward", *dense, y, mean, scale, float(eps), shape=shape, like=x
    )
    return y, (mean, scale)


def _backward(
    launcher: Launcher, g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Any
) -> tuple[Array | None, Array | None, Array | None]:
    mean, scale = saved
    shape = as_matrix(x.shape)
    g, x = launcher.dense(g, x.dtype), launcher.dense(x, x.dtype)
    dx, dw, db = launcher.grad_memory(grads_out[0], x.shape, x.dtype), None, None
    if dx is not None:
        dense = None if weight is None else launcher.dense(weight, weight.dtype)
        launcher.rows(_FILE, "row_norm_backward", g, x, dense, mean, scale, dx, shape=shape, like=x)
    if grads_out[1] or grads_out[2]:
        chunks = launcher.chunks(shape, x)
        parts = launcher.empty((chunks, 2, shape[1]), wide(x.dtype))
        launcher.columns(
            _FILE, "row_norm_weight_gradient", g, x, mean, scale, parts,
            shape=shape, chunks=chunks, like=x,
        )  # fmt: skip
        dw, db = two_sums(launcher, parts, grads_out[1], grads_out[2])
    return dx, dw, db
