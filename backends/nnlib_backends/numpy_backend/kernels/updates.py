"""Update rules of the optimizers: one pass over parameters, gradients and state.

The formulas are those of the definitions in ``nnlib/optim``, for float32 vectors.  Nothing changes
if ``skip``, (1,), is given and not 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnlib_backends.numpy_backend.codegen.arguments import Nullable, Vector, f4, is_given, kernel
from nnlib_backends.numpy_backend.launch import Array, launch, split
from nnlib_backends.update_scalars import positions

__all__ = ["UPDATES"]

_LEAST = 1 << 13  # elements for each thread
_ADAGRAD, _ADAM, _RMSPROP, _SGD = map(positions, ("adagrad", "adam", "rmsprop", "sgd"))


@kernel
def sgd_update(
    chunk, start, stop, p: Vector, g: Vector, buffer: Nullable[Vector], scalars: Vector,
    nesterov: int, skip: Nullable[Vector],
):  # fmt: skip
    """SGD of parameters ``p``, gradients ``g`` and momentum ``buffer``, all (n,)."""
    if is_given(skip) and skip[0] != f4(0.0):
        return
    n = scalars
    lr, momentum, decay = n[_SGD.lr], n[_SGD.momentum], n[_SGD.weight_decay]
    one_minus_dampening = n[_SGD.one_minus_dampening]
    p, g = p[start:stop], g[start:stop]
    if not is_given(buffer):
        for i in range(p.size):
            p[i] -= lr * (g[i] + decay * p[i])
        return
    v = buffer[start:stop]
    if nesterov:
        for i in range(p.size):
            d = g[i] + decay * p[i]
            v[i] = momentum * v[i] + one_minus_dampening * d
            p[i] -= lr * (d + momentum * v[i])
    else:
        for i in range(p.size):
            v[i] = momentum * v[i] + one_minus_dampening * (g[i] + decay * p[i])
            p[i] -= lr * v[i]


@kernel
def adam_update(
    chunk, start, stop, p: Vector, g: Vector, m: Vector, v: Vector, largest: Nullable[Vector],
    scalars: Vector, decoupled: int, skip: Nullable[Vector],
):  # fmt: skip
    """Adam of parameters ``p``, gradients ``g`` and moments, all (n,).

    If decoupled, ``decay`` is the factor of the weights.
    """
    if is_given(skip) and skip[0] != f4(0.0):
        return
    n = scalars
    step_size, eps, beta1, beta2 = n[_ADAM.step_size], n[_ADAM.eps], n[_ADAM.beta1], n[_ADAM.beta2]
    one_minus_beta1, one_minus_beta2 = n[_ADAM.one_minus_beta1], n[_ADAM.one_minus_beta2]
    p, g, m, v = p[start:stop], g[start:stop], m[start:stop], v[start:stop]
    keep, decay = f4(1.0), f4(0.0)
    if decoupled:
        keep = n[_ADAM.decay]
    else:
        decay = n[_ADAM.decay]
    if not is_given(largest):
        for i in range(p.size):
            w = p[i] * keep
            d = g[i] + decay * w
            m[i] = beta1 * m[i] + one_minus_beta1 * d
            v[i] = beta2 * v[i] + one_minus_beta2 * d * d
            p[i] = w - step_size * m[i] / (math.sqrt(v[i]) + eps)
        return
    largest = largest[start:stop]
    for i in range(p.size):
        w = p[i] * keep
        d = g[i] + decay * w
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2 * d * d
        largest[i] = largest[i] if largest[i] >= v[i] else v[i]  # NaN stays NaN
        p[i] = w - step_size * m[i] / (math.sqrt(largest[i]) + eps)


@kernel
def rmsprop_update(
    chunk, start, stop, p: Vector, g: Vector, v: Vector, m: Nullable[Vector],
    buffer: Nullable[Vector], scalars: Vector, skip: Nullable[Vector],
):  # fmt: skip
    """RMSprop of parameters ``p``, gradients ``g``, moments and momentum ``buffer``, all (n,)."""
    if is_given(skip) and skip[0] != f4(0.0):
        return
    n = scalars
    lr, eps, alpha = n[_RMSPROP.lr], n[_RMSPROP.eps], n[_RMSPROP.alpha]
    one_minus_alpha = n[_RMSPROP.one_minus_alpha]
    decay, momentum = n[_RMSPROP.weight_decay], n[_RMSPROP.momentum]
    centred, has_buffer = is_given(m), is_given(buffer)
    p, g, v = p[start:stop], g[start:stop], v[start:stop]
    m, b = m[start:stop], buffer[start:stop]
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
def adagrad_update(
    chunk, start, stop, p: Vector, g: Vector, total: Vector, scalars: Vector,
    skip: Nullable[Vector],
):  # fmt: skip
    """Adagrad of parameters ``p``, gradients ``g`` and the ``total`` of their squares, all (n,)."""
    if is_given(skip) and skip[0] != f4(0.0):
        return
    n = scalars
    lr, eps, decay = n[_ADAGRAD.lr], n[_ADAGRAD.eps], n[_ADAGRAD.weight_decay]
    p, g, v = p[start:stop], g[start:stop], total[start:stop]
    for i in range(p.size):
        d = g[i] + decay * p[i]
        v[i] += d * d
        p[i] -= lr * d / (math.sqrt(v[i]) + eps)


def sgd(
    p: Array, g: Array, buffer: Array | None, scalars: Array, *, skip: Array | None,
    nesterov: bool, decayed: bool,
) -> None:  # fmt: skip
    """Stochastic gradient descent with momentum; without decay the number is 0."""
    chunks = split(p.size, _LEAST)
    launch(
        sgd_update, p, g, buffer, scalars, nesterov, None if skip is None else skip.reshape(1),
        items=p.size, chunks=chunks,
    )  # fmt: skip


def adam(
    p: Array, g: Array, m: Array, v: Array, largest: Array | None, scalars: Array, *,
    skip: Array | None, decayed: bool, decoupled: bool,
) -> None:  # fmt: skip
    """Adam, AMSGrad and AdamW."""
    chunks = split(p.size, _LEAST)
    launch(
        adam_update, p, g, m, v, largest, scalars, decoupled,
        None if skip is None else skip.reshape(1), items=p.size, chunks=chunks,
    )  # fmt: skip


def rmsprop(
    p: Array, g: Array, v: Array, m: Array | None, buffer: Array | None, scalars: Array, *,
    skip: Array | None, decayed: bool,
) -> None:  # fmt: skip
    """RMSprop, centred or not, with or without momentum."""
    chunks = split(p.size, _LEAST)
    launch(
        rmsprop_update, p, g, v, m, buffer, scalars, None if skip is None else skip.reshape(1),
        items=p.size, chunks=chunks,
    )  # fmt: skip


def adagrad(
    p: Array, g: Array, total: Array, scalars: Array, *, skip: Array | None, decayed: bool
) -> None:
    """Adagrad."""
    chunks = split(p.size, _LEAST)
    launch(
        adagrad_update, p, g, total, scalars, None if skip is None else skip.reshape(1),
        items=p.size, chunks=chunks,
    )  # fmt: skip


UPDATES: dict[str, Callable[..., Any]] = {
    "adagrad": adagrad,
    "adam": adam,
    "rmsprop": rmsprop,
    "sgd": sgd,
}
