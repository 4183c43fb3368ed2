"""Update rules of the optimizers, piece by piece.

A definition such as ``p -= lr * g`` makes a temporary as large as ``p`` and goes through main
memory once for each operator.  Here a piece of every array passes through all operators while it is
in cache, with temporaries of the piece's size.  The arithmetic is the definition's, operator by
operator, so the results are bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

__all__ = ["UPDATES"]

Array: TypeAlias = "np.ndarray[Any, Any]"

PIECE = 1 << 15  # elements: 128 KB of float32 for each array, so that four fit a common L2 cache


def _pieces(temporaries: int, *arrays: Array | None) -> Iterator[Any]:
    """Yield matching flat pieces of the arrays (``None`` stays), then temporaries like a piece."""
    p = arrays[0]
    assert p is not None
    if p.size <= PIECE or not all(array is None or array.flags.c_contiguous for array in arrays):
        yield (*arrays, *[np.empty_like(p) for _ in range(temporaries)])
        return
    flat = [None if array is None else array.reshape(-1) for array in arrays]
    scratch = [np.empty(PIECE, p.dtype) for _ in range(temporaries)]
    for start in range(0, p.size, PIECE):
        part = slice(start, start + PIECE)
        rest = slice(0, min(PIECE, p.size - start))
        yield (
            *[None if array is None else array[part] for array in flat],
            *[array[rest] for array in scratch],
        )


def _decayed(g: Array, p: Array, weight_decay: Any, out: Array) -> Array:
    """``g + weight_decay * p``, in ``out``."""
    np.multiply(p, weight_decay, out=out)
    return np.add(g, out, out=out)


def _average(mean: Array, decay: Any, rest: Any, g: Array, temporary: Array) -> None:
    """``mean = decay * mean + rest * g``, in place."""
    np.multiply(mean, decay, out=mean)
    np.multiply(g, rest, out=temporary)
    np.add(mean, temporary, out=mean)


def _average_square(mean: Array, decay: Any, rest: Any, g: Array, temporary: Array) -> None:
    """``mean = decay * mean + rest * g * g``, in place."""
    np.multiply(mean, decay, out=mean)
    np.multiply(g, rest, out=temporary)
    np.multiply(temporary, g, out=temporary)
    np.add(mean, temporary, out=mean)


def sgd(
    p: Array,
    g: Array,
    momentum_buffer: Array | None,
    scalars: Array,
    *,
    nesterov: bool,
    decayed: bool,
) -> None:
    """Stochastic gradient descent with momentum."""
    lr, momentum, share, weight_decay = scalars
    for w, d, v, t, s in _pieces(2, p, g, momentum_buffer):
        if decayed:
            d = _decayed(d, w, weight_decay, t)
        if v is not None:
            np.multiply(v, momentum, out=v)
            np.add(v, np.multiply(d, share, out=s), out=v)
            d = np.add(d, np.multiply(v, momentum, out=s), out=t) if nesterov else v
        np.subtract(w, np.multiply(d, lr, out=t), out=w)


def adam(
    p: Array,
    g: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array | None,
    scalars: Array,
    *,
    decayed: bool,
    decoupled: bool,
) -> None:
    """Adam, AMSGrad and AdamW."""
    step_size, eps, beta1, one_minus_beta1, beta2, one_minus_beta2, decay = scalars
    for w, d, m, v, largest, t, s in _pieces(2, p, g, exp_avg, exp_avg_sq, max_exp_avg_sq):
        if decayed and decoupled:
            np.multiply(w, decay, out=w)
        elif decayed:
            d = _decayed(d, w, decay, s)
        _average(m, beta1, one_minus_beta1, d, t)
        _average_square(v, beta2, one_minus_beta2, d, t)
        if largest is not None:
            v = np.maximum(largest, v, out=largest)
        np.add(np.sqrt(v, out=t), eps, out=t)
        np.divide(np.multiply(m, step_size, out=s), t, out=t)
        np.subtract(w, t, out=w)


def rmsprop(
    p: Array,
    g: Array,
    square_avg: Array,
    grad_avg: Array | None,
    momentum_buffer: Array | None,
    scalars: Array,
    *,
    decayed: bool,
) -> None:
    """RMSprop, centred or not, with or without momentum."""
    lr, alpha, rest, eps, weight_decay, momentum = scalars
    for w, d, v, m, b, t, s in _pieces(2, p, g, square_avg, grad_avg, momentum_buffer):
        if decayed:
            d = _decayed(d, w, weight_decay, s)
        _average_square(v, alpha, rest, d, t)
        if m is not None:
            _average(m, alpha, rest, d, t)
            v = np.subtract(v, np.multiply(m, m, out=t), out=t)
            np.maximum(v, 0.0, out=v)
        np.add(np.sqrt(v, out=t), eps, out=t)
        d = np.divide(d, t, out=t)
        if b is not None:
            np.multiply(b, momentum, out=b)
            d = np.add(b, d, out=b)
        np.subtract(w, np.multiply(d, lr, out=t), out=w)


def adagrad(p: Array, g: Array, sum: Array, scalars: Array, *, decayed: bool) -> None:
    """Adagrad."""
    lr, eps, weight_decay = scalars
    for w, d, v, t, s in _pieces(2, p, g, sum):
        if decayed:
            d = _decayed(d, w, weight_decay, s)
        np.add(v, np.multiply(d, d, out=t), out=v)
        np.add(np.sqrt(v, out=t), eps, out=t)
        np.divide(np.multiply(d, lr, out=s), t, out=t)
        np.subtract(w, t, out=w)


UPDATES: dict[str, Callable[..., None]] = {
    "adagrad": adagrad,
    "adam": adam,
    "rmsprop": rmsprop,
    "sgd": sgd,
}
