"""Attention with PyTorch's order of axes."""

from __future__ import annotations

import math

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor, ones
from nnlib.errors import DTypeError, ShapeError
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_fraction, floating
from nnlib.nn.functional.layers import dropout
from nnlib_backends.dtypes import is_floating

__all__ = ["scaled_dot_product_attention"]


@explained
def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Tensor:
    """``softmax(q kᵀ / √D) v`` (Vaswani et al., 2017), with PyTorch's order of axes.

    Parameters
    ----------
    query : Tensor, (..., T, D)
    key, value : Tensor, (..., S, D)
        Leading axes broadcast with those of the query; the features of the value may be another
        number.
    attn_mask : Tensor, broadcastable to (..., T, S), optional
        Boolean: true where a query may see a key; a query without keys gets 0.  Floating-point:
        added to the scores.
    dropout_p : float
        Probability of dropping a weight.  As in PyTorch it is always applied: pass 0 in
        evaluation.
    is_causal : bool
        Whether a query must not see later keys.  Needs T = S, because otherwise "later" is not
        defined.
    scale : float, optional
        Factor of the scores; ``D ** -0.5`` if not given.

    Returns
    -------
    Tensor, (..., T, features of the value)

    Raises
    ------
    ShapeError, DTypeError
        If the shapes do not fit, or the mask has integers.
    OptionError
        If ``dropout_p`` is outside [0, 1].

    Examples
    --------
    >>> import nnlib
    >>> q = k = nnlib.zeros(1, 2, 4)
    >>> scaled_dot_product_attention(q, k, [[[1.0], [3.0]]], is_causal=True)
    tensor([[[1.],
             [2.]]])
    """
    q, k, v = (floating(x, "attention") for x in (query, key, value))
    check_fraction(dropout_p, "dropout_p")
    T, S = _lengths(q, k, v, is_causal)
    lead = _leading(q, k, v)
    q, k, v = (
        x if x.shape[:-2] == lead else ops.broadcast_to(x, shape=(*lead, *x.shape[-2:]))
        for x in (q, k, v)
    )
    mask = None if attn_mask is None else _mask(as_tensor(attn_mask, q), lead, T, S)
    heads = lead[-1] if len(lead) > 1 else 1
    batch = math.prod(lead[:-1] if len(lead) > 1 else lead)
    q, k, v = (x.reshape(batch, heads, *x.shape[-2:]).swapaxes(1, 2) for x in (q, k, v))
    factor = dropout_factor((q.shape[0], heads, T, S), dropout_p, q) if dropout_p else None
    y = ops.attention(q, k, v, mask, factor, causal=is_causal, scale=scale)
    return y.swapaxes(1, 2).reshape(*lead, T, v.shape[-1])


def _lengths(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[int, int]:
    """Return T and S."""
    fit = min(x.ndim for x in (q, k, v)) >= 2
    if not fit or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            "attention needs query (..., T, D), key (..., S, D) and value (..., S, E). "
            f"Received: {q.shape}, {k.shape} and {v.shape}"
        )
    if is_causal and q.shape[-2] != k.shape[-2]:
        raise ShapeError(
            "is_causal needs as many keys as queries. "
            f"Received: {q.shape[-2]} queries, {k.shape[-2]} keys. Pass a mask instead"
        )
    return q.shape[-2], k.shape[-2]


def _leading(*tensors: Tensor) -> tuple[int, ...]:
    """Return the common leading axes to which all tensors broadcast."""
    leads = [x.shape[:-2] for x in tensors]
    if leads.count(leads[0]) == len(leads):
        return leads[0]
    ndim = max(map(len, leads))
    columns = zip(*((1,) * (ndim - len(lead)) + lead for lead in leads), strict=True)
    sizes = [{n for n in column if n != 1} for column in columns]
    if any(len(several) > 1 for several in sizes):
        raise ShapeError(
            "the leading axes of query, key and value must broadcast. "
            f"Received: {', '.join(str(x.shape) for x in tensors)}"
        )
    return tuple(several.pop() if several else 1 for several in sizes)


def _mask(mask: Tensor, lead: tuple[int, ...], T: int, S: int) -> Tensor:
    """Return a mask that broadcasts to (B, H, T, S)."""
    if mask.dtype.kind != "b" and not is_floating(mask.dtype):
        raise DTypeError(f"attn_mask must hold booleans or floats. Received: {mask.dtype}")
    full = (*lead, T, S)
    padded = (1,) * (len(full) - mask.ndim) + mask.shape
    if len(padded) > len(full) or any(n not in (1, m) for n, m in zip(padded, full, strict=True)):
        raise ShapeError(f"attn_mask must broadcast to {full}. Received: {mask.shape}")
    if len(full) <= 4 and mask.ndim <= 2:
        return mask
    if len(full) == 4:
        return mask.reshape(padded)
    # other numbers of leading axes: all but the last are joined to the batch, or the only one is it
    mask = ops.broadcast_to(mask.reshape(padded), shape=full)
    heads = lead[-1] if len(lead) > 1 else 1
    return mask.reshape(math.prod(lead) // max(heads, 1), heads, T, S)


@explained
def dropout_factor(shape: tuple[int, ...], p: float, x: Tensor) -> Tensor:
    """Factor of dropout: 0 with probability p, else 1 / (1 − p).

    Examples
    --------
    >>> import nnlib
    >>> dropout_factor((2,), 1.0, nnlib.zeros(1))
    tensor([0., 0.])
    """
    return dropout(ones(shape, dtype=x.dtype, backend=x.backend), p)
