"""Kernel pairs in terms of ``xp``, with few passes over memory, for every backend.

Each must agree with its definition in ``nnlib/ops``; the conformance test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nnlib_backends.base import (
    ANYWHERE,
    IGNORED,
    Array,
    GradsOut,
    KernelPair,
    anywhere,
)
from nnlib_backends.common.philox import kept
from nnlib_backends.dtypes import (
    LOGISTIC,
    NORMAL,
    average,
    log_of_total,
    scattered,
    sigmoid,
    sigmoid_and_bell,
    total,
)

_SQRT_TWO_OVER_PI = math.sqrt(2 / math.pi)


def make_kernels(xp: Any) -> dict[str, KernelPair]:
    """Return name → kernel pair."""
    return {
        "linear": _linear(xp),
        "softmax_cross_entropy": _softmax_cross_entropy(xp),
        "sigmoid_cross_entropy": _sigmoid_cross_entropy(xp),
        "layer_norm": _layer_norm(xp),
        "rms_norm": _rms_norm(xp),
        "batch_norm": _batch_norm(xp),
        "gelu": _gelu(xp),
        "silu": _silu(xp),
        "dropout": _dropout(xp),
        "embedding": _embedding(xp),
    }


def rows_of(x: Array) -> Array:
    """(..., D) → (N, D); without −1, which fails where D is 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def stored(
    kernel: KernelPair, g: Array, saved: Any, grads_out: GradsOut, *arrays: Any, **static: Any
) -> list[Array | None]:
    """Call a kernel pair that cannot write into arrays, and store its gradients.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib_backends import GradOut
    >>> double = KernelPair(lambda x: (2 * x, None), lambda g, saved, grads_out, x: (2 * g,))
    >>> out = GradOut(np.ones(2), accumulate=True)
    >>> stored(double, np.ones(2), None, [out], np.ones(2))
    [array([3., 3.])]
    """
    gradients = kernel.backward(g, saved, anywhere(grads_out), *arrays, **static)
    return [x if out is None else out.store(x) for x, out in zip(gradients, grads_out, strict=True)]


def either(served: Callable[..., bool], own: KernelPair, general: KernelPair | None) -> KernelPair:
    """Return a kernel pair that computes by ``own`` where ``served`` is true, else by ``general``.

    Without ``general`` it returns ``NotImplemented``.  It has the flags of ``own``: the gradients
    of ``general`` are stored by copying or adding.

    Parameters
    ----------
    served : callable
        ``served(*arrays, **static) -> bool``, from dtypes, shapes and options alone.
    own : KernelPair
    general : KernelPair, optional

    Examples
    --------
    >>> import numpy as np
    >>> fast, slow = (KernelPair(lambda x, word=w: (word, None), None) for w in ("fast", "slow"))
    >>> kernel = either(lambda x: x.dtype == "f4", fast, slow)
    >>> [kernel.forward(np.zeros(1, dtype))[0] for dtype in ("f4", "f8")]
    ['fast', 'slow']
    >>> either(lambda x: False, fast, None).forward(1)
    NotImplemented
    """

    def forward(*arrays: Array | None, **static: Any) -> Any:
        if served(*arrays, **static):
            return own.forward(*arrays, **static)
        return NotImplemented if general is None else general.forward(*arrays, **static)

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, *arrays: Array | None, **static: Any
    ) -> Any:
        if general is None or served(*arrays, **static):
            return own.backward(g, saved, grads_out, *arrays, **static)
        return stored(general, g, saved, grads_out, *arrays, **static)

    return replace(own, forward=forward, backward=backward)


def activate(xp: Any, z: Array, activation: str | None) -> Array:
    """Apply an activation, given its name."""
    if activation == "relu":
        return xp.maximum(z, 0)
    if activation == "tanh":
        return xp.tanh(z)
    return z if activation is None else sigmoid(xp, z)


def derive(g: Array, y: Array | None, activation: str | None) -> Array:
    """Return the gradient by an activation's argument, given its result ``y``."""
    if y is None:
        return g
    if activation == "relu":
        return g * (y > 0)
    return g * (1 - y * y) if activation == "tanh" else g * (y * (1 - y))


def _linear(xp: Any) -> KernelPair:
    gelu = _gelu(xp)

    def forward(
        x: Array, weight: Array, bias: Array | None, *, activation: str | None = None
    ) -> tuple[Array, Array | None]:
        y = xp.dot(rows_of(x), weight.T)
        if bias is not None:
            y += bias
        if activation == "gelu_tanh":
            kept = y
            y, _ = gelu.forward(y, approximate="tanh")
        else:
            y = activate(xp, y, activation)
            kept = None if activation is None else y
        return y.reshape(*x.shape[:-1], weight.shape[0]), kept

    def backward(
        g: Array, kept: Array | None, grads_out: GradsOut, x: Array, weight: Array,
        bias: Array | None, *, activation: str | None = None,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        rows = rows_of(g)
        if activation == "gelu_tanh":
            (rows,) = gelu.backward(rows, None, [ANYWHERE], kept, approximate="tanh")
        else:
            rows = derive(rows, kept, activation)
        dx = xp.dot(rows, weight).reshape(x.shape) if grads_out[0] else None
        dw = xp.dot(rows.T, rows_of(x)) if grads_out[1] else None
        db = total(xp, rows, axis=0) if grads_out[2] else None
        return dx, dw, db

    return KernelPair(forward, backward)


def _softmax_cross_entropy(xp: Any) -> KernelPair:
    def forward(logits: Array, labels: Array) -> tuple[Array, Any]:
        counts = labels != IGNORED
        labels = xp.where(counts, labels, 0)
        logits = xp.where(counts[:, None], logits, 0)
        p = logits - logits.max(axis=-1, keepdims=True)
        rows = xp.arange(logits.shape[0])
        chosen = p[rows, labels]
        xp.exp(p, out=p)
        losses = log_of_total(xp, p, -1)[:, 0] - chosen
        p /= total(xp, p, axis=-1, keepdims=True)
        return xp.where(counts, losses, 0), (p, labels, counts)

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, logits: Array, labels: Array
    ) -> tuple[Array, None]:
        p, labels, counts = saved
        g = xp.where(counts, g, 0)
        d = p * g[:, None]
        d[xp.arange(p.shape[0]), labels] -= g
        return d, None

    return KernelPair(forward, backward)


def _sigmoid_cross_entropy(xp: Any) -> KernelPair:
    def forward(x: Array, t: Array) -> tuple[Array, None]:
        return xp.maximum(x, 0) - x * t + xp.log1p(xp.exp(-xp.abs(x))), None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, x: Array, t: Array
    ) -> tuple[Array | None, Array | None]:
        dx = g * (sigmoid(xp, x) - t) if grads_out[0] else None
        return dx, -g * x if grads_out[1] else None

    return KernelPair(forward, backward)


def _affine(y: Array, weight: Array | None, bias: Array | None) -> Array:
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


def _normalised(xp: Any, x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, ...]:
    """Return x normalised over axes, its mean, and one over its standard deviation."""
    mean = average(xp, x, axes, keepdims=True)
    normal = x - mean
    scale = 1 / xp.sqrt(average(xp, normal * normal, axes, keepdims=True) + eps)
    normal *= scale
    return normal, mean, scale


def _sum_leading(xp: Any, g: Array) -> Array:
    return total(xp, rows_of(g), axis=0)


def _layer_norm(xp: Any) -> KernelPair:
    def forward(
        x: Array, weight: Array | None, bias: Array | None, *, eps: float
    ) -> tuple[Array, Any]:
        normal, *statistics = _normalised(xp, x, (x.ndim - 1,), eps)
        return _affine(normal, weight, bias), statistics

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Any, bias: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        mean, scale = saved
        normal = (x - mean) * scale
        dw = _sum_leading(xp, g * normal) if grads_out[1] else None
        db = _sum_leading(xp, g) if grads_out[2] else None
        if weight is not None:
            g = g * weight
        dx = None
        if grads_out[0]:
            dx = g - average(xp, g, -1, keepdims=True)
            dx -= normal * average(xp, g * normal, -1, keepdims=True)
            dx *= scale
        return dx, dw, db

    return KernelPair(forward, backward)


def _rms_norm(xp: Any) -> KernelPair:
    def forward(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Array]:
        scale = 1 / xp.sqrt(average(xp, x * x, -1, keepdims=True) + eps)
        return _affine(x * scale, weight, None), scale

    def backward(
        g: Array, scale: Array, grads_out: GradsOut, x: Array, weight: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        normal = x * scale
        dw = _sum_leading(xp, g * normal) if grads_out[1] else None
        if weight is not None:
            g = g * weight
        dx = None
        if grads_out[0]:
            dx = (g - normal * average(xp, g * normal, -1, keepdims=True)) * scale
        return dx, dw

    return KernelPair(forward, backward)


def _batch_norm(xp: Any) -> KernelPair:
    def forward(
        x: Array, weight: Array | None, bias: Array | None, *, eps: float
    ) -> tuple[Array, Any]:
        normal, *statistics = _normalised(xp, x, tuple(range(x.ndim - 1)), eps)
        return _affine(normal, weight, bias), statistics

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Any, bias: Any, *, eps: float
    ) -> tuple[Array | None, ...]:
        mean, scale = saved
        normal = (x - mean) * scale
        g_normal, g_sum = _sum_leading(xp, g * normal), _sum_leading(xp, g)
        dx = None
        if grads_out[0]:
            count = math.prod(x.shape[:-1])
            dx = g - g_sum / count
            dx -= normal * (g_normal / count)
            dx *= scale if weight is None else scale * weight
        return dx, g_normal if grads_out[1] else None, g_sum if grads_out[2] else None

    return KernelPair(forward, backward)


def _gelu(xp: Any) -> KernelPair:
    """The approximation by tanh; its derivative is exact where the factor of x is almost 1."""

    def forward(x: Array, *, approximate: str) -> Any:
        if approximate != "tanh":
            return NotImplemented
        x = xp.maximum(x, -NORMAL)  # (1 + tanh(z)) / 2 would be 0 long before its limit
        return x * sigmoid(xp, 2 * _SQRT_TWO_OVER_PI * (x + 0.044715 * x * x * x)), None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, x: Array, *, approximate: str
    ) -> tuple[Array]:
        x = xp.clip(x, -NORMAL, NORMAL)
        square = x * x
        s, bell = sigmoid_and_bell(xp, 2 * _SQRT_TWO_OVER_PI * x * (1 + 0.044715 * square))
        slope = 2 * _SQRT_TWO_OVER_PI * (1 + 3 * 0.044715 * square)
        return (g * (s + x * bell * slope),)

    return KernelPair(forward, backward)


def _silu(xp: Any) -> KernelPair:
    """SiLU; its derivative is exact where the factor of x is almost 1."""

    def forward(x: Array) -> tuple[Array, None]:
        x = xp.maximum(x, -LOGISTIC)
        return x * sigmoid(xp, x), None

    def backward(g: Array, saved: None, grads_out: GradsOut, x: Array) -> tuple[Array]:
        x = xp.clip(x, -LOGISTIC, LOGISTIC)
        s, bell = sigmoid_and_bell(xp, x)
        return (g * (s + x * bell),)

    return KernelPair(forward, backward)


def _dropout(xp: Any) -> KernelPair:
    def forward(x: Array, key: Array, *, p: float) -> tuple[Array, Array]:
        keep = kept(xp, key, x.size, p).reshape(x.shape)
        return apply(x, keep, p), keep

    def apply(x: Array, keep: Array, p: float) -> Array:
        return xp.where(keep, x if p == 1 else x * (1 / (1 - p)), 0)

    def backward(
        g: Array, keep: Array, grads_out: GradsOut, x: Array, key: Array, *, p: float
    ) -> tuple[Array, None]:
        return apply(g, keep, p), None

    return KernelPair(forward, backward)


def _embedding(xp: Any) -> KernelPair:
    def forward(weight: Array, indices: Array) -> tuple[Array, None]:
        return xp.take(weight, indices, axis=0), None

    def backward(
        g: Array, saved: None, grads_out: GradsOut, weight: Array, indices: Array
    ) -> tuple[Array, None]:
        return scattered(xp, weight.shape, indices, g), None

    return KernelPair(forward, backward)
