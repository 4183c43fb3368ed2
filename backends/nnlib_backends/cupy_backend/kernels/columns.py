"""Launchers of ``columns.cu``: bias, activation and bias gradient around a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnlib_backends.contract import Array, Kernel
from nnlib_backends.cupy_backend.kernels.elementwise import ACTIVATIONS
from nnlib_backends.cupy_backend.kernels.launcher import Launcher, as_matrix, either, real

__all__ = ["add_bias", "make_kernels", "sum_bias", "total"]

_FILE = "columns"


def add_bias(launcher: Launcher, y: Array, bias: Array | None, activation: str | None) -> None:
    """``y = activation(y + bias)``, in place.

    Parameters
    ----------
    launcher : Launcher
    y : (..., D)
        C-contiguous.
    bias : (D,), optional
    activation : {None, "relu", "tanh", "sigmoid"}
    """
    if bias is None and activation is None:
        return
    shape = as_matrix(y.shape)
    if bias is not None:
        bias = launcher.dense(bias, y.dtype)
    launcher.columns(
        _FILE, "bias_activation", y, bias, ACTIVATIONS.index(activation),
        shape=shape, chunks=launcher.chunks(shape, y), like=y,
    )  # fmt: skip


def sum_bias(
    launcher: Launcher, g: Array, y: Array | None, activation: str | None
) -> tuple[Array, Array]:
    """Return the gradient before activation and bias, and its sum: the gradient by the bias.

    Parameters
    ----------
    launcher : Launcher
    g : (..., D)
        Gradient by the result.
    y : (..., D) or None
        The result of the activation; ``None`` without one.
    activation : {None, "relu", "tanh", "sigmoid"}

    Returns
    -------
    (..., D), (D,)
    """
    g = launcher.dense(g, g.dtype if y is None else y.dtype)
    d = g if y is None else launcher.empty(g.shape, g.dtype)
    shape = as_matrix(g.shape)
    chunks = launcher.chunks(shape, g)
    sums = launcher.empty((chunks, 1, shape[1]), g.dtype)
    code = ACTIVATIONS.index(activation)
    out = None if y is None else d
    launcher.columns(
        _FILE, "bias_gradient", g, y, out, sums, code, shape=shape, chunks=chunks, like=g
    )
    return d, total(launcher, sums)[0]


def total(launcher: Launcher, sums: Array) -> Array:
    """Add chunks up: (chunks, K, D) → (K, D)."""
    chunks, terms, columns = sums.shape
    if chunks == 1:
        return sums[0]
    result = launcher.empty((terms, columns), sums.dtype)
    launcher.columns(
        _FILE, "bias_gradient", sums, None, None, result, 0,
        shape=(chunks, terms * columns), chunks=1, like=sums,
    )  # fmt: skip
    return result


def make_kernels(launcher: Launcher, general: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """Return ``linear`` and ``conv2d``: products of others, one kernel before or after them."""
    return {
        "linear": either(real, _linear(launcher), general["linear"]),
        "conv2d": either(real, _convolution(launcher, general["conv2d"]), general["conv2d"]),
    }


def _linear(launcher: Launcher) -> Kernel:
    xp = launcher.xp

    def forward(
        x: Array, weight: Array, bias: Array | None, *, activation: str | None = None
    ) -> tuple[Array, Array | None]:
        y = xp.dot(x.reshape(as_matrix(x.shape)), weight.T)
        y = y.reshape(*x.shape[:-1], weight.shape[0])
        add_bias(launcher, y, bias, activation)
        return y, None if activation is None else y

    def backward(
        g: Array, y: Array | None, needs: Sequence[Any], x: Array, weight: Array,
        bias: Array | None, *, activation: str | None = None,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        db = None
        if needs[2] or y is not None:
            g, db = sum_bias(launcher, g, y, activation)
        rows = g.reshape(as_matrix(g.shape))
        dx = xp.dot(rows, weight).reshape(x.shape) if needs[0] else None
        dw = xp.dot(rows.T, x.reshape(as_matrix(x.shape))) if needs[1] else None
        return dx, dw, db if needs[2] else None

    return Kernel(forward, backward)


def _convolution(launcher: Launcher, general: Kernel) -> Kernel:
    """Convolve by another kernel, and do the rest in one pass over the result."""

    def forward(
        x: Array, weight: Array, bias: Array | None, *, activation: str | None = None,
        **options: Any,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        if activation is None:
            return general.forward(x, weight, bias, **options)
        y = launcher.dense(general.forward(x, weight, None, **options)[0], x.dtype)
        if y.size:
            add_bias(launcher, y, bias, activation)
        return y, y

    def backward(
        g: Array, y: Array | None, needs: Sequence[Any], x: Array, weight: Array,
        bias: Array | None, *, activation: str | None = None, **options: Any,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        if not g.size or not (needs[2] or y is not None):
            return tuple(general.backward(g, None, needs, x, weight, bias, **options))
        g, db = sum_bias(launcher, g, y, activation)
        rest = (needs[0], needs[1], False)
        dx, dw, _ = general.backward(g, None, rest, x, weight, bias, **options)
        return dx, dw, db if needs[2] else None

    return Kernel(forward, backward)
