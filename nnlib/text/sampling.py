"""Choosing the next token from a language model's logits."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import NonFiniteError, OptionError, ShapeError
from nnlib.nn.functional.checks import TensorLike, floating
from nnlib.random import Generator, default_generator
from nnlib.tracing import current
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["check_logits", "sample"]


def sample(
    logits: TensorLike,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Draw a token for every row of logits; nothing is read from a device.

    Parameters
    ----------
    logits : Tensor, (B, V)
    temperature : float
        Divides the logits: below 1 likelier tokens are drawn more often; 0 takes the likeliest.
    top_k : int, optional
        Draw among the k likeliest only; of equally likely ones the first.
    top_p : float, optional
        Draw among the likeliest only, as few as together have this probability (Holtzman et al.,
        2020).
    generator : Generator, optional
        The random stream; the process-wide one if not given.

    Returns
    -------
    Tensor of integers, (B,)

    Raises
    ------
    OptionError
        If the temperature is negative, ``top_k`` no integer above 0, or ``top_p`` outside (0, 1].
    ShapeError
        If the logits are not (B, V), with at least one token.
    NonFiniteError
        If the largest of a row is not finite: NaN, infinity, or only −∞.  Not checked on a device,
        nor while a step is traced.

    Examples
    --------
    >>> sample([[0.0, 5.0, 1.0]], temperature=0).tolist()
    [1]
    """
    logits = floating(logits, "sample").detach()
    _check(temperature, top_k, top_p)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ShapeError(f"logits must be (B, V), V at least 1. Received: {logits.shape}")
    xp, scores = logits.backend.xp, logits.data
    if scores.dtype.itemsize < 4:
        scores = scores.astype("float32")
    peak = scores.max(axis=-1, keepdims=True)
    check_logits(peak, logits.backend)
    if temperature == 0:
        return Tensor(scores.argmax(axis=-1), logits.backend)
    scores = (scores - peak) / max(temperature, 1e-20)  # so that nothing overflows
    if top_k is not None and top_k < scores.shape[-1]:
        scores = _largest(xp, scores, xp.sort(scores, axis=-1)[:, -top_k, None], top_k)
    if top_p is not None and top_p < 1:
        ranked = xp.sort(scores, axis=-1)[:, ::-1]
        chances = xp.exp(ranked)
        chances = chances / chances.sum(axis=-1, keepdims=True)
        # probability of all likelier ones; of the likeliest exactly 0
        before = xp.cumsum(chances, axis=-1, dtype="float64") - chances
        count = (before < top_p).sum(axis=-1, keepdims=True)
        scores = _largest(xp, scores, xp.take_along_axis(ranked, count - 1, axis=-1), count)
    return Tensor((scores + _noise(scores, logits.backend, generator)).argmax(-1), logits.backend)


def check_logits(peak: Array, backend: Backend) -> None:
    """Refuse rows whose largest value, ``peak``, is not finite.

    Raises
    ------
    NonFiniteError
        If there is one.  Arrays on a device and in traced steps are not checked.
    """
    if backend.host_memory and current() is None and not bool(backend.xp.isfinite(peak).all()):
        raise NonFiniteError(
            "the largest logit of a row must be finite to choose a token. Received: "
            f"{peak.ravel().tolist()[:8]}. See where it comes from with nnlib.isfinite"
        )


def _largest(xp: Any, scores: Array, least: Array, count: Any) -> Array:
    """Hide all but the ``count`` largest of each row by −∞; ``least`` is the least of those."""
    above, tied = scores > least, scores == least
    room = count - above.sum(axis=-1, keepdims=True)
    kept = above | (tied & (xp.cumsum(tied, axis=-1) <= room))
    return xp.where(kept, scores, -xp.inf)


def _noise(scores: Array, backend: Backend, generator: Generator | None) -> Array:
    """Gumbel noise: the argmax of logits plus noise is drawn from their softmax (Yellott, 1977).

    It is −log E, E exponentially distributed: always finite, and most precise for small E, which
    determine the argmax.
    """
    xp, source = backend.xp, generator or default_generator
    words = source.bits(scores.size, backend).reshape(scores.shape)
    uniform = xp.minimum((words.astype("float32") + 0.5) * 2.0**-32, 1 - 2.0**-24)
    return -xp.log(-xp.log1p(-uniform))


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise OptionError(f"temperature must be ≥ 0. Received: {temperature}")
    if top_k is not None and not (isinstance(top_k, Integral) and top_k >= 1):
        raise OptionError(f"top_k must be an integer of at least 1. Received: {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise OptionError(f"top_p must be in (0, 1]. Received: {top_p}")
