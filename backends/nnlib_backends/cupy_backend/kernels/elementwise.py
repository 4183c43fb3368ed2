"""Launchers of ``elementwise.cu``: activations and sigmoid cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib_backends.base import ANYWHERE, Array, GradsOut, KernelPair, PrimitiveKernel
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.launch import Launcher, known, mixed, wide

__all__ = ["ACTIVATIONS", "make_kernels", "make_primitives"]

_FILE = "elementwise"
ACTIVATIONS = (None, "relu", "tanh", "sigmoid")  #: in the order of ``activation.cuh``


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``gelu``, ``silu`` and ``sigmoid_cross_entropy``."""
    name = "sigmoid_cross_entropy"
    return {
        "gelu": either(mixed, _from_input(launcher, "gelu"), general["gelu"]),
        "silu": either(mixed, _from_input(launcher, "silu"), general["silu"]),
        name: either(_alike, _sigmoid_cross_entropy(launcher), general[name]),
    }


def make_primitives(launcher: Launcher) -> dict[str, PrimitiveKernel]:
    """Return ``relu``, ``tanh`` and ``sigmoid``."""
    return {name: _primitive(launcher, i) for i, name in enumerate(ACTIVATIONS) if name}


def _alike(x: Array, target: Array) -> bool:
    """Tell whether targets have x's shape, and its dtype or the dtype of its computation."""
    dtypes = (x.dtype, wide(x.dtype))
    return x.shape == target.shape and mixed(x) and target.dtype in dtypes


def _each(launcher: Launcher, kernel: str, *inputs: Array, into: Array, code: int = -1) -> Array:
    """Launch on arrays of the shape and dtype of ``into``, and return it."""
    arrays = [launcher.dense(x, into.dtype) for x in inputs]
    options = (into.size,) if code < 0 else (into.size, code)
    launcher.elementwise(_FILE, kernel, *arrays, into, *options, n=into.size, like=into)
    return into


def _from_input(launcher: Launcher, name: str) -> KernelPair:
    """Return the kernel pair of an activation whose derivative is computed from its input."""

    def variant(approximate: str) -> str:
        return f"{name}_tanh" if approximate == "tanh" else name

    def forward(x: Array, *, approximate: str = "") -> tuple[Array, None]:
        y = launcher.empty(x.shape, x.dtype)
        return _each(launcher, f"{variant(approximate)}_forward", x, into=y), None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, x: Array, *, approximate: str = ""
    ) -> tuple[Array | None]:
        dx = launcher.grad_memory(grads_out[0], x.shape, x.dtype)
        if dx is not None:
            _each(launcher, f"{variant(approximate)}_backward", g, x, into=dx)
        return (dx,)

    return KernelPair(forward, backward, half=True, writes=True)


def _sigmoid_cross_entropy(launcher: Launcher) -> KernelPair:
    """Return the kernel pair; losses, targets and their gradients have the dtype of computation."""

    def forward(x: Array, target: Array) -> tuple[Array, None]:
        loss = launcher.empty(x.shape, wide(x.dtype))
        launcher.elementwise(
            _FILE, "sigmoid_cross_entropy_forward", launcher.dense(x, x.dtype),
            launcher.dense(target, loss.dtype), loss, x.size, n=x.size, like=x,
        )  # fmt: skip
        return loss, None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, x: Array, target: Array
    ) -> tuple[Array | None, Array | None]:
        dtype = wide(x.dtype)
        dx = launcher.grad_memory(grads_out[0], x.shape, x.dtype)
        exact = target.dtype == dtype
        out = grads_out[1]
        dtarget = launcher.grad_memory(out if exact or out is None else ANYWHERE, x.shape, dtype)
        launcher.elementwise(
            _FILE, "sigmoid_cross_entropy_backward", launcher.dense(g, dtype),
            launcher.dense(x, x.dtype), launcher.dense(target, dtype), dx, dtarget, x.size,
            n=x.size, like=x,
        )  # fmt: skip
        if out is None or dtarget is None or exact:
            return dx, dtarget
        return dx, dtarget.astype(target.dtype) if out.array is None else out.store(dtarget)

    return KernelPair(forward, backward, half=True, writes=True)


def _primitive(launcher: Launcher, code: int) -> PrimitiveKernel:
    def forward(x: Any) -> Any:
        if not known(x):
            return NotImplemented
        y = launcher.empty(x.shape, x.dtype)
        return _each(launcher, "activation_forward", x, into=y, code=code)

    def rule(g: Any, y: Any) -> Any:
        if not known(g, y):
            return NotImplemented
        dx = launcher.empty(y.shape, y.dtype)
        return _each(launcher, "activation_backward", g, y, into=dx, code=code)

    return PrimitiveKernel(forward, {"x": rule}, half=True)
