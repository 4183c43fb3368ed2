"""Attention in terms of ``xp``: the kernel pairs of every backend."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.dtypes import is_floating, total

__all__ = ["make_kernels"]


def make_kernels(xp: Any) -> dict[str, KernelPair]:
    """Return name → kernel pair."""
    return {"attention": _attention(xp), "self_attention": _self_attention(xp)}


def factor_of(scale: float | None, q: Array) -> float:
    """Return the factor of the scores, 1/√D by default."""
    return float(max(q.shape[-1], 1) ** -0.5 if scale is None else scale)


def _heads(x: Array) -> Array:
    """(B, T, H, D) → (B, H, T, D), and back."""
    return x.swapaxes(1, 2)


def _visible(xp: Any, mask: Array | None, causal: bool, queries: int, keys: int) -> Array | None:
    """Whether a query attends to a key, broadcastable to (B, H, T, S); None if to all."""
    if mask is not None:
        mask = mask > float("-inf") if is_floating(mask.dtype) else mask != 0
    if not causal:
        return mask
    past = xp.arange(keys) <= xp.arange(keys - queries, keys)[:, None]
    return past if mask is None else mask & past


def _weights(
    xp: Any, q: Array, k: Array, mask: Array | None, visible: Array | None, scale: float
) -> Array:
    """``softmax(scale q kᵀ)`` over the visible keys: (B, H, T, S)."""
    scores = xp.matmul(_heads(q), _heads(k).swapaxes(2, 3)) * scale
    if mask is not None and is_floating(mask.dtype):
        scores += xp.where(visible, mask, 0)
    if visible is not None:
        scores = xp.where(visible, scores, -1e30)
    if scores.size == 0:
        return scores  # max() of an empty array is an error
    weights = xp.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    # zeros for a query without visible keys
    return weights if visible is None else xp.where(visible, weights, 0)


def _finite(xp: Any, x: Array) -> Array:
    """Replace infinities and NaN by 0, because a weight of 0 times them is NaN."""
    return xp.where(xp.isfinite(x), x, 0)


def _attend(
    xp: Any, q: Array, k: Array, v: Array, mask: Any, factor: Any, causal: bool, scale: float
) -> tuple[Array, Array]:
    visible = _visible(xp, mask, causal, q.shape[1], k.shape[1])
    weights = _weights(xp, q, k, mask, visible, scale)
    used = weights if factor is None else weights * factor
    if visible is None and factor is None:
        return _heads(xp.matmul(used, _heads(v))), weights
    y = xp.matmul(used, _heads(_finite(xp, v)))
    spoilt = _heads(~xp.isfinite(v).all(axis=-1, keepdims=True)).astype(v.dtype)  # (B, H, S, 1)
    spoilt = xp.matmul((used != 0).astype(v.dtype), spoilt)  # > 0: attends to such a value
    return _heads(xp.where(spoilt > 0, float("nan"), y)), weights


def _attend_back(
    xp: Any, grad: Array, weights: Array, q: Array, k: Array, v: Array, factor: Any, scale: float
) -> tuple[Array, ...]:
    """Gradients by q, k, v (B, T, H, D), by the scores and by the factor (B, H, T, S)."""
    grad, k, v = _heads(grad), _finite(xp, k), _finite(xp, v)
    used = weights if factor is None else weights * factor
    dused = xp.matmul(grad, _heads(v).swapaxes(2, 3))
    dweights = dused if factor is None else dused * factor
    dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
    dq = _heads(xp.matmul(dscores, _heads(k))) * scale
    dk = _heads(xp.matmul(dscores.swapaxes(2, 3), _heads(q))) * scale
    dv = _heads(xp.matmul(used.swapaxes(2, 3), grad))
    return dq, dk, dv, dscores, dused * weights


def _sum_to(xp: Any, x: Array, shape: tuple[int, ...]) -> Array:
    """Sum x over the axes along which ``shape`` was broadcast."""
    x = total(xp, x, axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return total(xp, x, axis=axes, keepdims=True) if axes else x


def _attention(xp: Any) -> KernelPair:
    def forward(
        q: Array, k: Array, v: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None
    ) -> tuple[Array, Array]:
        return _attend(xp, q, k, v, mask, factor, causal, factor_of(scale, q))

    def backward(
        grad: Array, weights: Array, grads_out: GradsOut,
        q: Array, k: Array, v: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None,
    ) -> list[Array | None]:  # fmt: skip
        *d, dscores, dfactor = _attend_back(xp, grad, weights, q, k, v, factor, factor_of(scale, q))
        return [
            *d,
            _sum_to(xp, dscores, mask.shape) if grads_out[3] else None,
            _sum_to(xp, dfactor, factor.shape) if grads_out[4] else None,
        ]

    return KernelPair(forward, backward)


def _self_attention(xp: Any) -> KernelPair:
    def split(qkv: Array) -> tuple[Array, Array, Array]:
        return qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]

    def forward(
        qkv: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None
    ) -> tuple[Array, Array]:
        scale = factor_of(scale, qkv)
        return _attend(xp, *split(qkv), mask, factor, causal, scale)

    def backward(
        grad: Array, weights: Array, grads_out: GradsOut,
        qkv: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None,
    ) -> list[Array | None]:  # fmt: skip
        scale = factor_of(scale, qkv)
        *d, dscores, dfactor = _attend_back(xp, grad, weights, *split(qkv), factor, scale)
        return [
            xp.stack(d, axis=2) if grads_out[0] else None,
            _sum_to(xp, dscores, mask.shape) if grads_out[1] else None,
            _sum_to(xp, dfactor, factor.shape) if grads_out[2] else None,
        ]

    return KernelPair(forward, backward)
