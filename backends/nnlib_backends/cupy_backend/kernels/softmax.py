"""Launchers of ``cross_entropy.cu``: softmax and log-softmax along the last axis."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array, PrimitiveKernel
from nnlib_backends.cupy_backend.kernels.launch import Launcher, as_matrix, known

__all__ = ["make_primitives"]

_FILE = "cross_entropy"


def make_primitives(launcher: Launcher) -> dict[str, PrimitiveKernel]:
    """Return ``softmax`` and ``log_softmax``.

    They take 16 bits, but give 16 bits then, and `nnlib.autocast` wants float32.
    """
    return {name: _primitive(launcher, name) for name in ("softmax", "log_softmax")}


def _primitive(launcher: Launcher, name: str) -> PrimitiveKernel:
    def launch(kernel: str, *inputs: Array) -> Array:
        like = inputs[0]
        arrays = [launcher.dense(x, like.dtype) for x in inputs]
        result = launcher.empty(like.shape, like.dtype)
        launcher.rows(_FILE, kernel, *arrays, result, shape=as_matrix(like.shape), like=like)
        return result

    def forward(x: Any, *, axis: Any = -1) -> Any:
        if not (known(x) and _is_last(axis, x.ndim)):
            return NotImplemented
        return launch(f"{name}_forward", x)

    def rule(g: Any, y: Any, axis: Any) -> Any:
        if not (known(g, y) and _is_last(axis, y.ndim)):
            return NotImplemented
        return launch(f"{name}_backward", g, y)

    return PrimitiveKernel(forward, {"x": rule})


def _is_last(axis: Any, ndim: int) -> bool:
    return ndim > 0 and axis in (-1, ndim - 1)
