"""Update rules of the optimizers: one pass over parameters, gradients and state.

The formulas are those of the definitions in ``nnlib/optim``, for float32 vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnlib_backends.numpy_backend.codegen.arguments import f4, integer, is_absent, kernel, vector
from nnlib_backends.numpy_backend.launch import Array, launch, split
from nnlib_backends.update_scalars import positions

__all__ = ["UPDATES"]

_LEAST = 1 << 13  # elements for each thread
_ADAGRAD, _ADAM, _RMSPROP, _SGD = map(positions, ("adagrad", "adam", "rmsprop", "sgd"))


@kernel
def sgd_update(t, chunk, start, stop):
    p, g, n = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 3)
    lr, momentum, decay = n[_SGD.lr], n[_SGD.momentum], n[_SGD.weight_decay]
    one_minus_dampening = n[_SGD.one_minus_dampening]
    if is_absent(t, 2):
        for i in range(p.size):
            p[i] -= lr * (g[i] + decay * p[i])
        return
    v = vector(t, 2)[start:stop]
    if integer(t, 4):  # Nesterov
        for i in range(p.size):
            d = g[i] + decay * p[i]
            v[i] = momentum * v[i] + one_minus_dampening * d
            p[i] -= lr * (d + momentum * v[i])
    else:
        for i in range(p.size):
            v[i] = momentum * v[i] + one_minus_dampening * (g[i] + decay * p[i])
            p[i] -= lr * v[i]


@kernel
def adam_update(t, chunk, start, stop):
    p, g, n = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 5)
    m, v = vector(t, 2)[start:stop], vector(t, 3)[start:stop]
    step_size, eps, beta1, beta2 = n[_ADAM.step_size], n[_ADAM.eps], n[_ADAM.beta1], n[_ADAM.beta2]
    one_minus_beta1, one_minus_beta2 = n[_ADAM.one_minus_beta1], n[_ADAM.one_minus_beta2]
    keep, decay = f4(1.0), f4(0.0)
    if integer(t, 6):  # decoupled
        keep = n[_ADAM.decay]
    else:
        decay = n[_ADAM.decay]
    if is_absent(t, 4):
        for i in range(p.size):
            w = p[i] * keep
            d = g[i] + decay * w
            m[i] = beta1 * m[i] + one_minus_beta1 * d
            v[i] = beta2 * v[i] + one_minus_beta2 * d * d
            p[i] = w - step_size * m[i] / (math.sqrt(v[i]) + eps)
        return
    largest = vector(t, 4)[start:stop]
    for i in range(p.size):
        w = p[i] * keep
        d = g[i] + decay * w
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2 * d * d
        largest[i] = largest[i] if largest[i] >= v[i] else v[i]  # a NaN stays
        p[i] = w - step_size * m[i] / (math.sqrt(largest[i]) + eps)


@kernel
def rmsprop_update(t, chunk, start, stop):
    p, g, n = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 5)
    v = vector(t, 2)[start:stop]
    lr, eps, alpha = n[_RMSPROP.lr], n[_RMSPROP.eps], n[_RMSPROP.alpha]
    one_minus_alpha = n[_RMSPROP.one_minus_alpha]
    decay, momentum = n[_RMSPROP.weight_decay], n[_RMSPROP.momentum]
    centred, has_buffer = not is_absent(t, 3), not is_absent(t, 4)
    m, b = vector(t, 3)[start:stop], vector(t, 4)[start:stop]
    for i in range(p.size):
        d = g[i] + decay * p[i]
        v[i] = alpha * v[i] + one_minus_alpha * d * d
        mean_square = v[i]
        if centred:
            m[i] = alpha * m[i] + one_minus_alpha * d
            mean_square -= m[i] * m[i]
            mean_square = f4(0.0) if mean_square <= f4(0.0) else mean_square
        d /= math.sqrt(mean_square) + eps
        if has_buffer:
            b[i] = momentum * b[i] + d
            d = b[i]
        p[i] -= lr * d


@kernel
def adagrad_update(t, chunk, start, stop):
    p, g, n = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 3)
    v = vector(t, 2)[start:stop]
    lr, eps, decay = n[_ADAGRAD.lr], n[_ADAGRAD.eps], n[_ADAGRAD.weight_decay]
    for i in range(p.size):
        d = g[i] + decay * p[i]
        v[i] += d * d
        p[i] -= lr * d / (math.sqrt(v[i]) + eps)


def sgd(
    p: Array, g: Array, buffer: Array | None, scalars: Array, *, nesterov: bool, decayed: bool
) -> None:
    """Stochastic gradient descent with momentum; without decay the number is 0."""
    launch(sgd_update, p, g, buffer, scalars, nesterov, items=p.size, chunks=split(p.size, _LEAST))


def adam(
    p: Array, g: Array, m: Array, v: Array, largest: Array | None, scalars: Array, *,
    decayed: bool, decoupled: bool,
) -> None:  # fmt: skip
    """Adam, AMSGrad and AdamW."""
    chunks = split(p.size, _LEAST)
    launch(adam_update, p, g, m, v, largest, scalars, decoupled, items=p.size, chunks=chunks)


def rmsprop(
    p: Array, g: Array, v: Array, m: Array | None, buffer: Array | None, scalars: Array, *,
    decayed: bool,
) -> None:  # fmt: skip
    """RMSprop, centred or not, with or without momentum."""
    launch(rmsprop_update, p, g, v, m, buffer, scalars, items=p.size, chunks=split(p.size, _LEAST))


def adagrad(p: Array, g: Array, total: Array, scalars: Array, *, decayed: bool) -> None:
    """Adagrad."""
    launch(adagrad_update, p, g, total, scalars, items=p.size, chunks=split(p.size, _LEAST))


UPDATES: dict[str, Callable[..., Any]] = {
    "adagrad": adagrad,
    "adam": adam,
    "rmsprop": rmsprop,
    "sgd": sgd,
}
