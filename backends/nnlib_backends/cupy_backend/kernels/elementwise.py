"""Launchers of ``elementwise.cu``: activations, sigmoid cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnlib_backends.contract import Array, Kernel, PrimitiveKernel
from nnlib_backends.cupy_backend.kernels.launcher import DTYPES, Launcher, either, real

__all__ = ["ACTIVATIONS", "make_kernels", "make_primitives"]

_FILE = "elementwise"
ACTIVATIONS = (None, "relu", "tanh", "sigmoid")  #: in the order of ``activation.cuh``


def make_kernels(launcher: Launcher, general: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """Return ``gelu``, ``silu`` and ``sigmoid_cross_entropy``."""
    own = {
        "gelu": _from_input(launcher, "gelu"),
        "silu": _from_input(launcher, "silu"),
        "sigmoid_cross_entropy": _sigmoid_cross_entropy(launcher),
    }
    served = {**dict.fromkeys(own, real), "sigmoid_cross_entropy": _alike}
    return {name: either(served[name], kernel, general[name]) for name, kernel in own.items()}


def make_primitives(launcher: Launcher) -> dict[str, PrimitiveKernel]:
    """Return ``relu``, ``tanh`` and ``sigmoid``."""
    return {name: _primitive(launcher, i) for i, name in enumerate(ACTIVATIONS) if name}


def _alike(x: Array, target: Array) -> bool:
    return x.shape == target.shape and real(x, target)


def _each(launcher: Launcher, kernel: str, *inputs: Array, like: Array, code: int = -1) -> Array:
    """Launch on arrays of one shape; return the result."""
    result = launcher.empty(like.shape, like.dtype)
    arrays = [launcher.dense(x, like.dtype) for x in inputs]
    options = (like.size,) if code < 0 else (like.size, code)
    launcher.elementwise(_FILE, kernel, *arrays, result, *options, n=like.size, like=like)
    return result


def _from_input(launcher: Launcher, name: str) -> Kernel:
    """An activation whose derivative is computed from its input."""

    def variant(approximate: str) -> str:
        return f"{name}_tanh" if approximate == "tanh" else name

    def forward(x: Array, *, approximate: str = "") -> tuple[Array, None]:
        return _each(launcher, f"{variant(approximate)}_forward", x, like=x), None

    def backward(
        g: Array, saved: None, needs: Sequence[Any], x: Array, *, approximate: str = ""
    ) -> tuple[Array]:
        return (_each(launcher, f"{variant(approximate)}_backward", g, x, like=x),)

    return Kernel(forward, backward)


def _sigmoid_cross_entropy(launcher: Launcher) -> Kernel:
    def forward(x: Array, target: Array) -> tuple[Array, None]:
        return _each(launcher, "sigmoid_cross_entropy_forward", x, target, like=x), None

    def backward(
        g: Array, saved: None, needs: Sequence[Any], x: Array, target: Array
    ) -> tuple[Array | None, Array | None]:
        dx, dtarget = (launcher.empty(x.shape, x.dtype) if need else None for need in needs)
        arrays = [launcher.dense(a, x.dtype) for a in (g, x, target)]
        launcher.elementwise(
            _FILE, "sigmoid_cross_entropy_backward", *arrays, dx, dtarget, x.size, n=x.size, like=x
        )
        return dx, dtarget

    return Kernel(forward, backward)


def _primitive(launcher: Launcher, code: int) -> PrimitiveKernel:
    def served(*arrays: Any) -> bool:
        return all(hasattr(a, "dtype") and a.dtype.name in DTYPES and a.size > 0 for a in arrays)

    def forward(x: Any) -> Any:
        if not served(x):
            return NotImplemented
        return _each(launcher, "activation_forward", x, like=x, code=code)

    def rule(g: Any, y: Any) -> Any:
        if not served(g, y) or g.dtype != y.dtype or g.shape != y.shape:
            return NotImplemented
        return _each(launcher, "activation_backward", g, y, like=y, code=code)

    return PrimitiveKernel(forward, {"x": rule})
