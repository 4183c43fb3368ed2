"""``attention`` and ``self_attention`` by cuDNN, which keeps a number for each query, no weights.

In float16 and bfloat16 only; other dtypes are computed as on other backends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.attention import factor_of
from nnlib_backends.cupy_backend.cudnn import attention_graph as tensors
from nnlib_backends.cupy_backend.cudnn.attention_graph import Attention, Layout
from nnlib_backends.cupy_backend.cudnn.graphs import DTYPES
from nnlib_backends.cupy_backend.cudnn.memory import aligned, delivered, in_float32, is_aligned
from nnlib_backends.cupy_backend.cudnn.planner import Planner
from nnlib_backends.dtypes import LOW_DTYPES, is_floating

__all__ = ["make_attention"]

_HIDDEN = -1e30  # exp gives 0; with −∞ cuDNN would compute ∞ − ∞


@dataclass(frozen=True)
class Scores:
    """Scale, masks and factor of the scores and weights, in cuDNN's form.

    Attributes
    ----------
    scale : float
    causal : str
        See `Attention`.
    bias : (B or 1, H or 1, T, S) of float32, or None
    factor : (B, H, T, S), or None
    seen : (B or 1, T, H or 1, 1) of bool, or None
        Whether a query has any visible key; ``None`` if every one has.
    """

    scale: float
    causal: str
    bias: Array | None
    factor: Array | None
    seen: Array | None


class CudnnAttention:
    """Attention of q (B, T, H, D), k (B, S, H, D) and v (B, S, H, features of the value).

    Parameters
    ----------
    planner : Planner
    xp : namespace
    deterministic : bool
        Whether gradients must be the same in every run.
    """

    def __init__(self, planner: Planner, xp: Any, deterministic: bool) -> None:
        self._planner, self._xp, self._deterministic = planner, xp, deterministic

    def forward(self, q: Array, k: Array, v: Array, scores: Scores) -> tuple[Array, Any] | None:
        """Return the result and the saved values; ``None`` if cuDNN has no kernel."""
        xp = self._xp
        q, k, v = (self._laid_out(array) for array in (q, k, v))
        problem = self._problem("forward", q, k, v, (), scores)
        y = xp.empty(problem.result.shape, dtype=q.dtype)
        batch, queries, heads, _ = q.shape
        statistics = xp.empty((batch, heads, queries, 1), dtype="float32")
        buffers = {tensors.RESULT: y, tensors.STATISTICS: statistics}
        if not self._planner.run(problem, buffers | _inputs(q, k, v, scores)):
            return None
        if scores.seen is not None:
            y *= scores.seen.astype(y.dtype)
        return y, (y, statistics)

    def gradients(
        self, g: Array, saved: Any, data: Sequence[Array],
        split: Callable[..., Sequence[Array]], scores: Scores | None,
    ) -> list[Array] | None:  # fmt: skip
        """Return the gradients by q, k and v; ``None`` if cuDNN has no kernel."""
        if scores is None:
            return None
        xp = self._xp
        y, statistics = saved
        q, k, v = (self._laid_out(array) for array in split(*data))
        found = [xp.empty(array.shape, dtype=array.dtype) for array in data]
        parts = split(*found)
        if scores.seen is not None:  # queries without visible keys have a gradient of 0
            g = g * scores.seen.astype(g.dtype)
        problem = self._problem(
            "backward", q, k, v, tuple(Layout.of(array) for array in parts), scores
        )
        buffers = {
            tensors.RESULT: y, tensors.STATISTICS: statistics, tensors.DRESULT: aligned(xp, g),
            **dict(zip((tensors.DQ, tensors.DK, tensors.DV), parts, strict=True)),
        }  # fmt: skip
        done = self._planner.run(problem, buffers | _inputs(q, k, v, scores))
        return found if done else None

    def _problem(
        self, direction: str, q: Array, k: Array, v: Array, gradients: tuple[Layout, ...],
        scores: Scores,
    ) -> Attention:  # fmt: skip
        return Attention(
            direction, Layout.of(q), Layout.of(k), Layout.of(v), gradients, q.dtype.name,
            scores.scale, scores.causal,
            None if scores.bias is None else scores.bias.shape,
            None if scores.factor is None else scores.factor.dtype.name,
            self._deterministic and direction == "backward",
        )  # fmt: skip

    def scores(
        self, q: Array, k: Array, v: Array, mask: Array | None, factor: Array | None,
        causal: bool, scale: float | None,
    ) -> Scores | None:  # fmt: skip
        """Return the scores' description; ``None`` if cuDNN does not support it."""
        if not _served(q, k, v):
            return None
        queries, keys = q.shape[1], k.shape[1]
        square = queries == keys
        if causal and not square and (queries > keys or mask is not None or factor is not None):
            return None
        if factor is not None:
            if factor.shape != (q.shape[0], q.shape[2], queries, keys):
                return None
            if factor.dtype.name not in DTYPES:
                return None
            factor = aligned(self._xp, factor)
        bias = seen = None
        if mask is not None:
            bias, seen = self._bias(mask, queries, keys, causal)
        alignment = "top left" if square else "bottom right"
        return Scores(factor_of(scale, q), alignment if causal else "", bias, factor, seen)

    def _bias(self, mask: Array, queries: int, keys: int, causal: bool) -> tuple[Array, Array]:
        """Return the mask as a bias of the scores, and whether each query has a visible key."""
        xp = self._xp
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        mask = xp.broadcast_to(mask, (*mask.shape[:2], queries, keys))
        if is_floating(mask.dtype):
            choice = mask > float("-inf")
            bias = xp.maximum(mask.astype("float32"), _HIDDEN)
        else:
            choice = mask != 0
            bias = xp.where(choice, xp.float32(0), xp.float32(_HIDDEN))
        if causal:
            choice = choice & (xp.arange(keys) <= xp.arange(queries)[:, None])
        return aligned(xp, bias), choice.any(axis=-1).swapaxes(1, 2)[..., None]

    def _laid_out(self, array: Array) -> Array:
        """Return an array whose rows of features cuDNN can load: the array itself or a copy."""
        *outer, inner = array.strides
        packed = inner == array.dtype.itemsize and is_aligned(array)
        if packed and all(stride > 0 and stride % 16 == 0 for stride in outer):
            return array
        return aligned(self._xp, array)


def make_attention(
    planner: Planner, xp: Any, general: Mapping[str, KernelPair], deterministic: bool
) -> dict[str, KernelPair]:
    """Return ``attention`` and ``self_attention``.

    Parameters
    ----------
    planner : Planner
    xp : namespace
    general : mapping
        Kernel pairs of the same names, for all that cuDNN does not compute, in float32.
    deterministic : bool
        Whether gradients must be the same in every run.
    """
    own = CudnnAttention(planner, xp, deterministic)
    return {
        "attention": _kernel(own, in_float32(general["attention"]), lambda q, k, v: (q, k, v)),
        "self_attention": _kernel(
            own,
            in_float32(general["self_attention"]),
            lambda qkv: (qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]),
        ),
    }


def _kernel(
    own: CudnnAttention, general: KernelPair, split: Callable[..., Sequence[Array]]
) -> KernelPair:
    """Return the kernel pair of an operation whose q, k and v are ``split(*data)``."""

    def forward(*arrays: Any, causal: bool, scale: float | None) -> tuple[Array, Any]:
        *data, mask, factor = arrays
        q, k, v = split(*data)
        scores = own.scores(q, k, v, mask, factor, causal, scale)
        found = None if scores is None else own.forward(q, k, v, scores)
        if found is not None:
            return found[0], (found[1], None)
        y, saved = general.forward(*arrays, causal=causal, scale=scale)
        return y, (None, saved)

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, *arrays: Any, causal: bool, scale: float | None
    ) -> Any:
        *data, mask, factor = arrays
        q, k, v = split(*data)
        of_cudnn, of_general = saved
        if of_cudnn is not None and not any(grads_out[-2:]):
            scores = own.scores(q, k, v, mask, factor, causal, scale)
            found = own.gradients(g, of_cudnn, data, split, scores)
            if found is not None:
                pairs = zip(found, grads_out[:-2], strict=True)
                return [*[delivered(d, out, d.dtype) for d, out in pairs], None, None]
        if of_general is None:  # gradients by mask or factor need the weights
            of_general = general.forward(*arrays, causal=causal, scale=scale)[1]
        return general.backward(g, of_general, grads_out, *arrays, causal=causal, scale=scale)

    return KernelPair(forward, backward, half=True, writes=True)


def _served(q: Array, k: Array, v: Array) -> bool:
    """Tell whether to use cuDNN: half dtypes, and more than one query.

    Generating text, one query at a time, would need a new plan for each length.
    """
    half = q.dtype.name in LOW_DTYPES and q.dtype == k.dtype == v.dtype
    return half and q.shape[1] > 1 and 0 not in (*q.shape, *k.shape, *v.shape)


def _inputs(q: Array, k: Array, v: Array, scores: Scores) -> dict[int, Array]:
    """Return the inputs of both directions."""
    buffers = {tensors.Q: q, tensors.K: k, tensors.V: v}
    if scores.bias is not None:
        buffers[tensors.BIAS] = scores.bias
    if scores.factor is not None:
        buffers[tensors.FACTOR] = scores.factor
    return buffers
