"""Scaled dot-product attention (Vaswani et al., 2017).

Queries, keys and values are (B, T, H, D): batch, time, heads, features per head, which is the
layout of a linear layer's result.
"""

from nnlib.errors import ShapeError, describe
from nnlib.ops.comparison import any, where
from nnlib.ops.linalg import matmul
from nnlib.ops.operation import Integers, Policy, fused, primitive
from nnlib.ops.shaping import expand_dims, swapaxes
from nnlib.ops.softmax import softmax
from nnlib_backends.dtypes import is_floating

__all__ = ["attention", "hide_future", "self_attention"]

INFINITY = float("inf")
HIDDEN = -1e30  # exp(HIDDEN) is 0; −∞ − (−∞) would be NaN


@primitive
def hide_future(xp, scores, *, value=-INFINITY):
    """Mask the later keys (columns) of each query (row) with a value; the last query sees all.

    Examples
    --------
    >>> from nnlib import ops, zeros
    >>> ops.hide_future(zeros(2, 3), value=9)
    tensor([[0., 0., 9.],
            [0., 0., 0.]])
    """
    queries, keys = scores.shape[-2:]
    last = xp.arange(keys - queries, keys)
    return xp.where(xp.arange(keys) > last[:, None], value, scores)


@hide_future.vjp("scores")
def _(g):
    return hide_future(g, value=0.0)


def _check(q, k, v, mask, factor, **_):
    """Check that the shapes fit."""
    fit = len(q.shape) == len(k.shape) == len(v.shape) == 4
    if fit:
        B, T, H, D = q.shape
        S = k.shape[1]
        fit = k.shape == (B, S, H, D) and v.shape[:3] == (B, S, H)
        fit = fit and all(a is None or _reaches(a.shape, (B, H, T, S)) for a in (mask, factor))
    if not fit:
        raise ShapeError(
            "attention needs q (B, T, H, D), k (B, S, H, D), v (B, S, H, E), and mask and factor "
            f"that broadcast to (B, H, T, S). Received: {describe(q, k, v, mask, factor)}"
        )


def _check_packed(qkv, mask, factor, **_):
    if len(qkv.shape) != 5 or qkv.shape[2] != 3:
        raise ShapeError(f"self_attention needs qkv (B, T, 3, H, D). Received: {describe(qkv)}")
    q = qkv[:, :, 0]
    _check(q, q, q, mask, factor)


def _reaches(shape, full):
    """Whether a shape broadcasts to another."""
    ends = zip(reversed(shape), reversed(full), strict=False)
    return len(shape) <= len(full) and all(n in (1, m) for n, m in ends)


_QKV = ((2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 4))


@fused(
    samples=[
        ([*_QKV, None, None], {}),
        ([*_QKV, Integers((2, 1, 1, 6), 2), (2, 3, 5, 6)], {"causal": True, "scale": 0.3}),
        ([*_QKV, (5, 6), None], {}),
        ([*[(1, 33, 2, 16)] * 3, None, None], {"causal": True}),
    ],
    check=_check,
    autocast=Policy(("q", "k", "v"), result="half"),
)
def attention(q, k, v, mask=None, factor=None, *, causal=False, scale=None):
    """Scaled dot-product attention, ``softmax(q kᵀ / √D) v``, head by head.

    Parameters
    ----------
    q : (B, T, H, D)
    k, v : (B, S, H, D)
        The last axis of v may have another size.
    mask : broadcastable to (B, H, T, S), optional
        Boolean or integer: whether a query attends to a key; without any key the result is 0.
        Floating-point: added to the scores; −inf masks a key like False.  Masked keys and their
        values have no effect, even if they are NaN.
    factor : broadcastable to (B, H, T, S), optional
        Multiplied with the weights (for dropout: 0 or 1/(1 − p)).
    causal : bool
        Mask the later keys of each query; the last query attends to all.
    scale : float, optional
        Factor of the scores; ``D ** -0.5`` if not given.

    Returns
    -------
    (B, T, H, D)

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> q = k = nnlib.zeros(1, 2, 1, 4)
    >>> ops.attention(q, k, nnlib.tensor([[[[1.0]], [[3.0]]]]), causal=True).numpy().ravel()
    array([1., 2.], dtype=float32)
    """
    q, k, v = (swapaxes(x, axis1=1, axis2=2) for x in (q, k, v))  # (B, H, T, D)
    visible, added = mask, None
    if mask is not None and is_floating(mask.dtype):
        visible, added = mask > -INFINITY, mask
    if visible is not None:  # clear keys that are masked for all queries: 0 · NaN would be NaN
        seen = any(visible, axis=-2) if visible.ndim > 1 else visible
        k, v = (where(expand_dims(seen, axis=-1), x, 0.0) for x in (k, v))
    scores = matmul(q, swapaxes(k, axis1=2, axis2=3)) * (
        max(q.shape[-1], 1) ** -0.5 if scale is None else scale
    )
    if added is not None:
        scores = scores + where(visible, added, 0.0)
    if visible is not None:
        scores = where(visible, scores, HIDDEN)
    if causal:
        scores = hide_future(scores, value=HIDDEN)
    weights = softmax(scores)
    if visible is not None:  # a query without keys
        weights = where(visible, weights, 0.0)
    if causal:
        weights = hide_future(weights, value=0.0)
    if factor is not None:
        weights = weights * factor
    return swapaxes(matmul(weights, v), axis1=1, axis2=2)


@fused(
    samples=[
        ([(2, 5, 3, 2, 4), None, None], {"causal": True}),
        ([(2, 5, 3, 2, 4), Integers((2, 1, 1, 5), 2), (2, 2, 5, 5)], {"scale": 0.3}),
        ([(1, 33, 3, 2, 16), None, None], {"causal": True}),
    ],
    check=_check_packed,
    autocast=Policy(("qkv",), result="half"),
)
def self_attention(qkv, mask=None, factor=None, *, causal=False, scale=None):
    """`attention` of a sequence to itself, with q, k and v in the result of one linear layer.

    Parameters
    ----------
    qkv : (B, T, 3, H, D)
    mask, factor, causal, scale
        See `attention`.

    Returns
    -------
    (B, T, H, D)

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> ops.self_attention(nnlib.ones(1, 7, 3, 2, 4)).shape
    (1, 7, 2, 4)
    """
    q, k, v = (qkv[:, :, part] for part in range(3))
    return attention(q, k, v, mask, factor, causal=causal, scale=scale)
