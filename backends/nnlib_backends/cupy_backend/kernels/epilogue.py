"""Launchers of ``epilogue.cu``: bias, activation and bias gradient of a GEMM or a convolution.

Biases and their gradients are float32 for data of half dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.elementwise import ACTIVATIONS
from nnlib_backends.cupy_backend.kernels.launch import Launcher, as_matrix, real, wide

__all__ = ["add_bias", "make_kernels", "sum_bias"]

_FILE = "epilogue"
_CODES = (*ACTIVATIONS, "gelu_tanh")


def add_bias(launcher: Launcher, y: Array, bias: Array | None, activation: str | None) -> None:
    """``y = activation(y + bias)``, in place; not GELU, whose derivative needs ``y + bias``.

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
        bias = launcher.dense(bias, wide(y.dtype))
    launcher.columns(
        _FILE, "bias_activation", y, bias, ACTIVATIONS.index(activation),
        shape=shape, chunks=launcher.chunks(shape, y), like=y,
    )  # fmt: skip


def sum_bias(
    launcher: Launcher,
    g: Array,
    y: Array | None,
    activation: str | None,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Return the gradient before activation and bias, and its sum: the gradient by the bias.

    Parameters
    ----------
    launcher : Launcher
    g : (..., D)
        Gradient by the result.
    y : (..., D) or None
        The result of the activation (for GELU its argument); ``None`` without one.
    activation : {None, "relu", "tanh", "sigmoid", "gelu_tanh"}
    out : (D,), optional
        Target of the sum; C-contiguous, of the dtype of sums.

    Returns
    -------
    (..., D), (D,)
    """
    g = launcher.dense(g, g.dtype if y is None else y.dtype)
    d = g if y is None else launcher.empty(g.shape, g.dtype)
    shape = as_matrix(g.shape)
    columns, chunks = shape[1], launcher.chunks(shape, g)
    if out is None:
        out = launcher.empty((columns,), wide(g.dtype))
    sums = out if chunks == 1 else launcher.empty((chunks, columns), out.dtype)
    code = _CODES.index(activation)
    result = None if y is None else d
    launcher.columns(
        _FILE, "bias_gradient", g, y, result, sums, code, shape=shape, chunks=chunks, like=g
    )
    if chunks > 1:
        launcher.columns(
            _FILE, "bias_gradient", sums, None, None, out, 0,
            shape=sums.shape, chunks=1, like=sums,
        )  # fmt: skip
    return d, out


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``conv2d``: a convolution by ``general``, with the epilogue in one kernel."""
    own = _convolution(launcher, general["conv2d"])
    return {"conv2d": either(real, own, general["conv2d"])}


def _convolution(launcher: Launcher, general: KernelPair) -> KernelPair:
    """Add bias and activation to a convolution, in one pass over the result."""

    def forward(
        x: Array, weight: Array, bias: Array | None, *, activation: str | None = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        if activation is None:
            return general.forward(x, weight, bias, **options)
        y = launcher.dense(general.forward(x, weight, None, **options)[0], x.dtype)
        if y.size:
            add_bias(launcher, y, bias, activation)
        return y, y

    def backward(
        g: Array, y: Array | None, grads_out: GradsOut, x: Array, weight: Array,
        bias: Array | None, *, activation: str | None = None, **options: Any,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        if not g.size or not (grads_out[2] or y is not None):
            return tuple(general.backward(g, None, grads_out, x, weight, bias, **options))
        g, db = sum_bias(launcher, g, y, activation)
        rest = (grads_out[0], grads_out[1], None)
        dx, dw, _ = general.backward(g, None, rest, x, weight, bias, **options)
        return dx, dw, db if grads_out[2] else None

    return KernelPair(forward, backward)
