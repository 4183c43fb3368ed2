"""Clip gradients before a step, by their norm or by their values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

from nnlib.autograd import Tensor, zeros
from nnlib.errors import BackendMismatchError, NonFiniteError, OptionError
from nnlib.optim.options import Range, list_of_tensors
from nnlib.optim.update import call_update
from nnlib.tracing import perform, repeated
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

_PIECE = 1 << 20  # elements


def clip_grad_norm_(
    params: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients, in place, so that their common norm is at most ``max_norm``.

    Parameters
    ----------
    params : Tensor or iterable of Tensor
        Those without a gradient are skipped; without any gradient the norm is 0.
    max_norm : float
        The limit; with ``math.inf`` the gradients are not changed.
    norm_type : float
        p of the p-norm; ``math.inf`` for the largest absolute value.
    error_if_nonfinite : bool
        Raise an error if the norm is NaN or infinite, which waits for the device.  Otherwise a norm
        that is not finite makes the gradients NaN or zero.

    Returns
    -------
    Tensor, ()
        The norm before clipping.

    Raises
    ------
    OptionError
        If ``max_norm`` is negative or NaN, ``norm_type`` not positive, or ``params`` an exhausted
        iterator.
    DTypeError
        If ``params`` are no tensors.
    BackendMismatchError
        If the gradients are on several backends.
    NonFiniteError
        If ``error_if_nonfinite`` and the norm is NaN or infinite.

    References
    ----------
    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.zeros(2, requires_grad=True)
    >>> w.grad = nnlib.tensor([3.0, 4.0])
    >>> clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> [round(value, 3) for value in w.grad.tolist()]
    [0.6, 0.8]
    """
    limit = Range(infinite=True).check("max_norm", max_norm)
    if not (isinstance(norm_type, Real) and norm_type > 0):
        raise OptionError(f"norm_type must be positive. Received: {norm_type!r}")
    gradients = _gradients(params)
    if not gradients:
        return zeros(())
    backend = gradients[0].backend
    for grad in gradients:
        if grad.backend is not backend:
            raise BackendMismatchError(
                "the norm of gradients needs them on one backend. Received: "
                f"{backend.name!r} and {grad.backend.name!r}"
            )
    arrays = [grad.data for grad in gradients]
    norm = repeated(_norm, backend, arrays, float(norm_type))
    result = Tensor(backend.asarray(norm), backend)
    if error_if_nonfinite:
        perform(_check_finite, result.data)
    if limit < math.inf:
        perform(_clip, backend, arrays, norm, limit)
        for grad in gradients:
            grad.bump_version()
    return result


def _check_finite(norm: Array) -> None:
    if not math.isfinite(norm.item()):
        raise NonFiniteError(
            f"the norm of the gradients must be finite to clip them. Received: {norm.item()}"
        )


def _clip(backend: Backend, arrays: list[Array], norm: Array, limit: float) -> None:
    """Scale the gradients if their norm is above the limit."""
    if call_update(backend, "clip", arrays, norm, limit) is not NotImplemented:
        return
    factor = backend.xp.minimum(limit / (norm + 1e-6), 1.0)
    for array in arrays:
        array *= factor


def clip_grad_value_(params: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every entry of every gradient, in place, to ± ``clip_value``.

    Parameters
    ----------
    params : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    clip_value : float
        The limit; ``math.inf`` changes nothing.

    Raises
    ------
    OptionError
        If ``clip_value`` is negative or NaN, or ``params`` an exhausted iterator.
    DTypeError
        If ``params`` are no tensors.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.zeros(2, requires_grad=True)
    >>> w.grad = nnlib.tensor([3.0, -0.5])
    >>> clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 1. , -0.5])
    """
    limit = Range(infinite=True).check("clip_value", clip_value)
    for grad in _gradients(params):
        perform(grad.backend.xp.clip, grad.data, -limit, limit, grad.data)
        grad.bump_version()


def _gradients(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in list_of_tensors("params", params) if p.grad is not None]


def _norm(backend: Backend, arrays: list[Array], p: float) -> Any:
    """Norm of all values together, in float32 at least; a 0-d array or scalar."""
    norm = call_update(backend, "norm", arrays) if p == 2 else NotImplemented
    if norm is not NotImplemented:
        return norm
    xp = backend.xp
    arrays = [
        array.astype(xp.float32) if array.dtype.itemsize < 4 else array
        for array in arrays
        if array.size
    ]
    if not arrays:
        return xp.zeros((), dtype=xp.float32)
    if p == math.inf:  # max and min need no temporary for |g|
        parts = [xp.maximum(array.max(), -array.min()) for array in arrays]
        largest = parts[0]
        for part in parts[1:]:
            largest = xp.maximum(largest, part)
        return largest
    if p == 2:  # in float64: BLAS sums float32 numbers with a large rounding error
        pieces = [piece for array in arrays for piece in _pieces(array.reshape(-1))]
        wide = (piece.astype(xp.float64) for piece in pieces)
        norm = xp.sqrt(_total([xp.vdot(piece, piece) for piece in wide]))
        return norm.astype(xp.result_type(*{array.dtype for array in arrays}))
    return _total([xp.sum(xp.abs(array) ** p) for array in arrays]) ** (1 / p)


def _pieces(array: Array) -> Iterator[Array]:
    """Cut a vector into pieces, so that temporaries are small."""
    for start in range(0, array.size, _PIECE):
        yield array[start : start + _PIECE]


def _total(parts: list[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
