"""Attention written once in ``xp`` terms, with its gradient (see `portable`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlib_backends.contract import Array, Kernel
from nnlib_backends.precision import is_floating, total

__all__ = ["make_kernels"]

Needs = Sequence[bool]


def make_kernels(xp: Any) -> dict[str, Kernel]:
    """Return name → kernel."""
    return {"attention": _attention(xp), "self_attention": _self_attention(xp)}


def factor_of(scale: float | None, q: Array) -> float:
    """Return what scores are multiplied by: 1/√D if nothing is given."""
    return float(q.shape[-1] ** -0.5 if scale is None else scale)


def _heads(x: Array) -> Array:
    """(B, T, H, D) → (B, H, T, D), and back."""
    return x.swapaxes(1, 2)


def _weights(xp: Any, q: Array, k: Array, mask: Array | None, causal: bool, scale: float) -> Array:
    """``softmax(scale q kᵀ)``: (B, H, T, S)."""
    scores = xp.matmul(_heads(q), _heads(k).swapaxes(2, 3)) * scale
    choice = mask is not None and not is_floating(mask.dtype)
    if choice:
        scores = xp.where(mask, scores, -1e30)
    elif mask is not None:
        scores += mask
    if causal:
        queries, keys = scores.shape[-2:]
        last = xp.arange(keys - queries, keys)
        scores = xp.where(xp.arange(keys) > last[:, None], -xp.inf, scores)
    weights = xp.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return xp.where(mask, weights, 0) if choice else weights  # a query that sees nothing


def _attend(
    xp: Any, q: Array, k: Array, v: Array, mask: Any, factor: Any, causal: bool, scale: float
) -> tuple[Array, Array]:
    weights = _weights(xp, q, k, mask, causal, scale)
    used = weights if factor is None else weights * factor
    return _heads(xp.matmul(used, _heads(v))), weights


def _attend_back(
    xp: Any, grad: Array, weights: Array, q: Array, k: Array, v: Array, factor: Any, scale: float
) -> tuple[Array, ...]:
    """Gradients by q, k, v (B, T, H, D), by the scores and by the used weights (B, H, T, S)."""
    grad = _heads(grad)
    used = weights if factor is None else weights * factor
    dused = xp.matmul(grad, _heads(v).swapaxes(2, 3))
    dweights = dused if factor is None else dused * factor
    dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
    dq = _heads(xp.matmul(dscores, _heads(k))) * scale
    dk = _heads(xp.matmul(dscores.swapaxes(2, 3), _heads(q))) * scale
    dv = _heads(xp.matmul(used.swapaxes(2, 3), grad))
    return dq, dk, dv, dscores, dused * weights


def _sum_to(xp: Any, x: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting."""
    x = total(xp, x, axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return total(xp, x, axis=axes, keepdims=True) if axes else x


def _attention(xp: Any) -> Kernel:
    def forward(
        q: Array, k: Array, v: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None
    ) -> tuple[Array, Array]:
        return _attend(xp, q, k, v, mask, factor, causal, factor_of(scale, q))

    def backward(
        grad: Array, weights: Array, needs: Needs,
        q: Array, k: Array, v: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None,
    ) -> list[Array | None]:  # fmt: skip
        *d, dscores, dfactor = _attend_back(xp, grad, weights, q, k, v, factor, factor_of(scale, q))
        return [
            *d,
            _sum_to(xp, dscores, mask.shape) if needs[3] else None,
            _sum_to(xp, dfactor, factor.shape) if needs[4] else None,
        ]

    return Kernel(forward, backward)


def _self_attention(xp: Any) -> Kernel:
    def split(qkv: Array) -> tuple[Array, Array, Array]:
        return qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]

    def forward(
        qkv: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None
    ) -> tuple[Array, Array]:
        scale = factor_of(scale, qkv)
        return _attend(xp, *split(qkv), mask, factor, causal, scale)

    def backward(
        grad: Array, weights: Array, needs: Needs,
        qkv: Array, mask: Any, factor: Any, *, causal: bool, scale: float | None,
    ) -> list[Array | None]:  # fmt: skip
        scale = factor_of(scale, qkv)
        *d, dscores, dfactor = _attend_back(xp, grad, weights, *split(qkv), factor, scale)
        return [
            xp.stack(d, axis=2) if needs[0] else None,
            _sum_to(xp, dscores, mask.shape) if needs[1] else None,
            _sum_to(xp, dfactor, factor.shape) if needs[2] else None,
        ]

    return Kernel(forward, backward)
