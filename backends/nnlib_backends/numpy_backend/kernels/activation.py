"""Activation functions: elementwise, forward and gradient in one pass each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import KernelPair, PrimitiveKernel
from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import CpuKernel, integer, kernel, vector
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, is_float32, place
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["CODES", "KERNELS", "PRIMITIVES", "activate", "derive", "relu"]

f4 = np.float32
ZERO, ONE = f4(0.0), f4(1.0)
GELU_TANH, CUBIC, THREE = f4(2 * 0.7978845608028654), f4(0.044715), f4(3.0)
# Beyond these the distribution functions are 0 or 1: −∞ · 0 and ∞ · 0 shall not be computed.
NORMAL, LOGISTIC = fn.NORMAL_FLAT, f4(110.0)

#: Activations that can be computed where a layer's result is still in cache, as kernels know them.
CODES = {None: 0, "relu": 1, "tanh": 2, "sigmoid": 3}
RELU, TANH, SIGMOID = 1, 2, 3


@njit
def activate(y, code):
    """``y = activation(y)``, in place: LLVM vectorises that, but not ``f(x, y)`` with y = x."""
    if code == RELU:
        for i in range(y.size):
            v = y[i]
            y[i] = ZERO if v <= ZERO else v  # a NaN stays
    elif code == TANH:
        for i in range(y.size):
            y[i] = fn.tanh(y[i])
    elif code == SIGMOID:
        for i in range(y.size):
            y[i] = fn.sigmoid(y[i])


@njit
def derive(g, y, out, code):
    """``out = g · activation'``, from the result y of the activation."""
    if code == RELU:
        for i in range(g.size):
            out[i] = g[i] * (ONE if y[i] > ZERO else ZERO)
    elif code == TANH:
        for i in range(g.size):
            out[i] = g[i] * (ONE - y[i] * y[i])
    elif code == SIGMOID:
        for i in range(g.size):
            out[i] = g[i] * (y[i] * (ONE - y[i]))


@kernel
def activation_forward(t, chunk, start, stop):
    x, y, code = vector(t, 0)[start:stop], vector(t, 1)[start:stop], integer(t, 2)
    if code == RELU:
        for i in range(x.size):
            v = x[i]
            y[i] = ZERO if v <= ZERO else v
    elif code == TANH:
        for i in range(x.size):
            y[i] = fn.tanh(x[i])
    elif code == SIGMOID:
        for i in range(x.size):
            y[i] = fn.sigmoid(x[i])


@kernel
def activation_backward(t, chunk, start, stop):
    part = slice(start, stop)
    derive(vector(t, 0)[part], vector(t, 1)[part], vector(t, 2)[part], integer(t, 3))


@kernel
def exp_forward(t, chunk, start, stop):
    x, y = vector(t, 0)[start:stop], vector(t, 1)[start:stop]
    for i in range(x.size):
        y[i] = fn.exp(x[i])


@njit(forceinline=True)
def _at_least(x, low):
    return fn.select(x < low, low, x)  # NaN stays NaN


@njit(forceinline=True)
def _within(x, limit):
    return fn.select(x > limit, limit, fn.select(x < -limit, -limit, x))


@kernel
def gelu_forward(t, chunk, start, stop):
    x, y = vector(t, 0)[start:stop], vector(t, 1)[start:stop]
    if integer(t, 2):
        for i in range(x.size):
            v = _at_least(x[i], -NORMAL)
            y[i] = v * fn.sigmoid(GELU_TANH * (v + CUBIC * v * v * v))
    else:
        for i in range(x.size):
            v = _at_least(x[i], -NORMAL)
            y[i] = v * fn.ndtr(v)


@kernel
def gelu_backward(t, chunk, start, stop):
    g, x, dx = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 2)[start:stop]
    if integer(t, 3):
        for i in range(x.size):
            v = _within(x[i], NORMAL)
            square = v * v
            s, bell = fn.sigmoid_and_bell(GELU_TANH * v * (ONE + CUBIC * square))
            slope = GELU_TANH * (ONE + THREE * CUBIC * square)
            dx[i] = g[i] * (s + v * bell * slope)
    else:
        for i in range(x.size):
            v = _within(x[i], NORMAL)
            share, bell = fn.ndtr_and_bell(v)
            dx[i] = g[i] * (share + v * (fn.DENSITY * bell))


@kernel
def silu_forward(t, chunk, start, stop):
    x, y = vector(t, 0)[start:stop], vector(t, 1)[start:stop]
    for i in range(x.size):
        v = _at_least(x[i], -LOGISTIC)
        y[i] = v * fn.sigmoid(v)


@kernel
def silu_backward(t, chunk, start, stop):
    g, x, dx = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 2)[start:stop]
    for i in range(x.size):
        v = _within(x[i], LOGISTIC)
        s, bell = fn.sigmoid_and_bell(v)
        dx[i] = g[i] * (s + v * bell)


def each(kernel: CpuKernel, *args: Any, out: Array) -> Array:
    """Launch an elementwise kernel and return the array that it fills."""
    launch(kernel, *args, items=out.size, chunks=split(out.size, ELEMENTS))
    return out


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    return each(activation_forward, dense(x), y := empty(x.shape), RELU, out=y)


def _primitive(code: int) -> PrimitiveKernel:
    def forward(x: Any) -> Any:
        if not is_float32(x):
            return NotImplemented
        return each(activation_forward, dense(x), y := empty(x.shape), code, out=y)

    def rule(g: Array, y: Any) -> Any:
        if not is_float32(g, y):
            return NotImplemented
        dx = empty(y.shape)
        return each(activation_backward, dense(g), dense(y), dx, code, out=dx)

    return PrimitiveKernel(forward, {"x": rule})


def _exp(x: Any) -> Any:
    if not is_float32(x):
        return NotImplemented
    return each(exp_forward, dense(x), y := empty(x.shape), out=y)


def _elementwise(forwards: CpuKernel, backwards: CpuKernel) -> KernelPair:
    def forward(x: Array, *, approximate: str = "") -> tuple[Array, None]:
        y = empty(x.shape)
        return each(forwards, dense(x), y, int(approximate == "tanh"), out=y), None

    def backward(
        g: Array, saved: None, needs: Sequence[Any], x: Array, *, approximate: str = ""
    ) -> tuple[Array | None]:
        dx = place(needs[0], x.shape)
        if dx is not None:
            each(backwards, dense(g), dense(x), dx, int(approximate == "tanh"), out=dx)
        return (dx,)

    return KernelPair(forward, backward)


KERNELS: dict[str, KernelPair] = {
    "gelu": _elementwise(gelu_forward, gelu_backward),
    "silu": _elementwise(silu_forward, silu_backward),
}

PRIMITIVES: dict[str, PrimitiveKernel] = {
    "relu": _primitive(RELU),
    "tanh": _primitive(TANH),
    "sigmoid": _primitive(SIGMOID),
    "exp": PrimitiveKernel(_exp),
}
