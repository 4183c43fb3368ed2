"""Activation functions: elementwise, forward and gradient in one pass each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nnlib_backends.base import GradsOut, KernelPair, PrimitiveKernel
from nnlib_backends.numpy_backend.codegen import math as fn
from nnlib_backends.numpy_backend.codegen.arguments import CpuKernel, Vector, kernel
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, grad_memory, is_float32
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["CODES", "KERNELS", "PRIMITIVES", "activate", "derive", "relu"]

f4 = np.float32
ZERO, ONE = f4(0.0), f4(1.0)
GELU_TANH, CUBIC, THREE = f4(2 * 0.7978845608028654), f4(0.044715), f4(3.0)
# For larger |x| the distribution functions are 0 or 1; clipping avoids −∞ · 0 and ∞ · 0.
NORMAL, LOGISTIC = fn.NORMAL_FLAT, f4(110.0)

#: Activations that other kernels can fuse → their code.
CODES = {None: 0, "relu": 1, "tanh": 2, "sigmoid": 3}
RELU, TANH, SIGMOID = 1, 2, 3


@njit
def activate(y, code):
    """``y = activation(y)`` in place, which LLVM vectorises, unlike ``f(x, y)`` with y = x."""
    if code == RELU:
        for i in range(y.size):
            v = y[i]
            y[i] = ZERO if v <= ZERO else v  # NaN stays NaN
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
def activation_forward(chunk, start, stop, x: Vector, y: Vector, code: int):
    """``y = activation(x)``, arrays of one size."""
    x, y = x[start:stop], y[start:stop]
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
def activation_backward(chunk, start, stop, g: Vector, y: Vector, dx: Vector, code: int):
    """``dx = g · activation'``, from the result y of the activation; arrays of one size."""
    part = slice(start, stop)
    derive(g[part], y[part], dx[part], code)


@kernel
def exp_forward(chunk, start, stop, x: Vector, y: Vector):
    """``y = e ** x``, arrays of one size."""
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = fn.exp(x[i])


@njit(forceinline=True)
def _within(x, limit):
    return fn.select(x > limit, limit, fn.select(x < -limit, -limit, x))


@kernel
def gelu_forward(chunk, start, stop, x: Vector, y: Vector, by_tanh: int):
    """``y = gelu(x)``, arrays of one size; exact, or by the approximation with tanh."""
    x, y = x[start:stop], y[start:stop]
    if by_tanh:
        for i in range(x.size):
            v = fn.at_least(x[i], -NORMAL)
            y[i] = v * fn.sigmoid(GELU_TANH * (v + CUBIC * v * v * v))
    else:
        for i in range(x.size):
            v = fn.at_least(x[i], -NORMAL)
            y[i] = v * fn.ndtr(v)


@kernel
def gelu_backward(chunk, start, stop, g: Vector, x: Vector, dx: Vector, by_tanh: int):
    """``dx = g · gelu'(x)``, arrays of one size."""
    g, x, dx = g[start:stop], x[start:stop], dx[start:stop]
    if by_tanh:
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
def silu_forward(chunk, start, stop, x: Vector, y: Vector):
    """``y = x · sigmoid(x)``, arrays of one size."""
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        v = fn.at_least(x[i], -LOGISTIC)
        y[i] = v * fn.sigmoid(v)


@kernel
def silu_backward(chunk, start, stop, g: Vector, x: Vector, dx: Vector):
    """``dx = g · silu'(x)``, arrays of one size."""
    g, x, dx = g[start:stop], x[start:stop], dx[start:stop]
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


def _elementwise(forwards: CpuKernel, backwards: CpuKernel, **defaults: str) -> KernelPair:
    def flags(options: dict[str, str]) -> list[int]:
        return [int(value == "tanh") for value in (defaults | options).values()]

    def forward(x: Array, **options: str) -> tuple[Array, None]:
        y = empty(x.shape)
        return each(forwards, dense(x), y, *flags(options), out=y), None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, x: Array, **options: str
    ) -> tuple[Array | None]:
        dx = grad_memory(grads_out[0], x.shape)
        if dx is not None:
            each(backwards, dense(g), dense(x), dx, *flags(options), out=dx)
        return (dx,)

    return KernelPair(forward, backward, writes=True)


KERNELS: dict[str, KernelPair] = {
    "gelu": _elementwise(gelu_forward, gelu_backward, approximate="none"),
    "silu": _elementwise(silu_forward, silu_backward),
}

PRIMITIVES: dict[str, PrimitiveKernel] = {
    "relu": _primitive(RELU),
    "tanh": _primitive(TANH),
    "sigmoid": _primitive(SIGMOID),
    "exp": PrimitiveKernel(_exp),
}
