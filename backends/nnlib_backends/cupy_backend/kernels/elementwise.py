"""Launchers of ``elementwise.cu``: activations, sigmoid cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnlib_backends.base import Array, KernelPair, PrimitiveKernel
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
    """Targets are probabilities, whose digits count: of x's dtype, or what x is computed in."""
    dtypes = (x.dtype, wide(x.dtype))
    return x.shape == target.shape and mixed(x) and target.dtype in dtypes


def _each(launcher: Launcher, kernel: str, *inputs: Array, into: Array, code: int = -1) -> Array:
    """Launch on arrays of the shape and dtype of the result; return it."""
    arrays = [launcher.dense(x, into.dtype) for x in inputs]
    options = (into.size,) if code < 0 else (into.size, code)
    launcher.elementwise(_FILE, kernel, *arrays, into, *options, n=into.size, like=into)
    return into


def _from_input(launcher: Launcher, name: str) -> KernelPair:
    """An activation whose derivative is computed from its input."""

    def variant(approximate: str) -> str:
        return f"{name}_tanh" if approximate == "tanh" else name

    def forward(x: Array, *, approximate: str = "") -> tuple[Array, None]:
        y = launcher.empty(x.shape, x.dtype)
        return _each(launcher, f"{variant(approximate)}_forward", x, into=y), None

    def backward(
        g: Array, saved: None, needs: Sequence[Any], x: Array, *, approximate: str = ""
    ) -> tuple[Array | None]:
        dx = launcher.home(needs[0], x.shape, x.dtype)
        if dx is not None:
            _each(launcher, f"{variant(approximate)}_backward", g, x, into=dx)
        return (dx,)

    return KernelPair(forward, backward)


def _sigmoid_cross_entropy(launcher: Launcher) -> KernelPair:
    """Losses, targets and their gradients have the dtype in which is computed."""

    def forward(x: Array, target: Array) -> tuple[Array, None]:
        loss = launcher.empty(x.shape, wide(x.dtype))
        launcher.elementwise(
            _FILE, "sigmoid_cross_entropy_forward", launcher.dense(x, x.dtype),
            launcher.dense(target, loss.dtype), loss, x.size, n=x.size, like=x,
        )  # fmt: skip
        return loss, None

    def backward(
        g: Array, saved: None, needs: Sequence[Any], x: Array, target: Array
    ) -> tuple[Array | None, Array | None]:
        dtype = wide(x.dtype)
        dx = launcher.home(needs[0], x.shape, x.dtype)
        exact = target.dtype == dtype
        dtarget = launcher.home(needs[1] if exact else needs[1] is not False, x.shape, dtype)
        launcher.elementwise(
            _FILE, "sigmoid_cross_entropy_backward", launcher.dense(g, dtype),
            launcher.dense(x, x.dtype), launcher.dense(target, dtype), dx, dtarget, x.size,
            n=x.size, like=x,
        )  # fmt: skip
        if exact or dtarget is None:
            return dx, dtarget
        if needs[1] is True:
            return dx, dtarget.astype(target.dtype)
        needs[1][...] = dtarget
        return dx, needs[1]

    return KernelPair(forward, backward)


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

    return PrimitiveKernel(forward, {"x": rule})
