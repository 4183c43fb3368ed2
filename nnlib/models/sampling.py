"""Choosing the next token from a language model's logits."""

from __future__ import annotations

import math

from nnlib.autograd import Tensor
from nnlib.errors import OptionError
from nnlib.nn.functional.checks import TensorLike, floating
from nnlib.random import Generator, default_generator

__all__ = ["sample"]


def sample(
    logits: TensorLike,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Draw a token for every row of logits; nothing is read by the host.

    Parameters
    ----------
    logits : Tensor, (B, V)
    temperature : float
        Divides the logits: below 1 the likelier tokens come more often; 0 takes the likeliest.
    top_k : int, optional
        Draw among the k likeliest only.
    top_p : float, optional
        Draw among the likeliest only, as few as together have this probability (Holtzman et al.,
        2020).
    generator : Generator, optional
        Where the random numbers come from; the process-wide stream if not given.

    Returns
    -------
    Tensor of integers, (B,)

    Raises
    ------
    OptionError
        If the temperature is negative, ``top_k`` below 1 or ``top_p`` outside (0, 1].

    Examples
    --------
    >>> sample([[0.0, 5.0, 1.0]], temperature=0).tolist()
    [1]
    """
    logits = floating(logits, "sample").detach()
    _check(temperature, top_k, top_p)
    xp, scores = logits.backend.xp, logits.data
    if temperature == 0:
        return Tensor(scores.argmax(axis=-1), logits.backend)
    scores = scores / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        least = xp.sort(scores, axis=-1)[:, -top_k, None]
        scores = xp.where(scores < least, -xp.inf, scores)
    if top_p is not None and top_p < 1:
        ranked = xp.sort(scores, axis=-1)[:, ::-1]
        chances = xp.exp(ranked - ranked[:, :1])
        chances = chances / chances.sum(axis=-1, keepdims=True)
        before = xp.cumsum(chances, axis=-1) - chances  # probability of all likelier ones
        least = xp.where(before < top_p, ranked, xp.inf).min(axis=-1, keepdims=True)
        scores = xp.where(scores < least, -xp.inf, scores)
    # Gumbel's way of drawing from a softmax: the largest of logits with noise (Yellott, 1977).
    source = generator or default_generator
    uniform = source.uniform(scores.shape, backend=logits.backend)
    noise = -xp.log(-xp.log(uniform + 2.0**-25))  # a uniform number may be 0
    return Tensor((scores + noise).argmax(axis=-1), logits.backend)


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise OptionError(f"temperature must be ≥ 0. Received: {temperature}")
    if top_k is not None and top_k < 1:
        raise OptionError(f"top_k must be at least 1. Received: {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise OptionError(f"top_p must be in (0, 1]. Received: {top_p}")
