"""Beam search: approximately the likeliest sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.text.sampling import check_logits
from nnlib_backends.base import Array

__all__ = ["Tokens", "search"]


class Tokens(Protocol):
    """The special tokens."""

    @property
    def padding(self) -> int:
        """Follows the end token."""

    @property
    def start(self) -> int:
        """First token of a sequence."""

    @property
    def end(self) -> int:
        """Last token of a sequence."""


def search(
    advance: Callable[[Tensor], Tensor],
    reorder: Callable[[Tensor], None],
    tokens: Tokens,
    batch: int,
    steps: int,
    beam: int,
    length_penalty: float,
    like: Tensor,
) -> Tensor:
    """Extend ``beam`` hypotheses of every sequence by a token at a time, and keep the best.

    Hypotheses are ranked by log-probability / length ** length_penalty; finished ones are kept.
    A beam of 1 is greedy decoding.  The host reads one value a step: whether all are finished.

    Parameters
    ----------
    advance : callable
        Last tokens (batch · beam, 1) → logits of what follows (batch · beam, V).
    reorder : callable
        Called with the rows (batch · beam,) that are continued.
    tokens : TransformerConfig
        Has the numbers ``padding``, ``start`` and ``end``.
    batch, steps, beam : int
        Number of sequences, most tokens, hypotheses that are kept.
    length_penalty : float
    like : Tensor
        Of the backend to compute on.

    Returns
    -------
    Tensor of integers, (batch, at most steps)
        The best of each: it ends with the end token and padding, or was cut after ``steps``.

    Raises
    ------
    NonFiniteError
        If logits are NaN or infinite, see `check_logits`.
    """
    backend, xp = like.backend, like.backend.xp
    last = xp.full((batch * beam, 1), tokens.start, dtype="int64")
    written = xp.zeros((batch, beam, 0), dtype="int64")
    # all initial hypotheses are equal: only one of them is continued
    scores = xp.where(xp.arange(beam) > 0, -xp.inf, xp.zeros((batch, 1), dtype="float32"))
    ended = xp.zeros((batch, beam), dtype=bool)
    lengths = xp.zeros((batch, beam), dtype="float32")
    row = xp.arange(batch)[:, None]
    for _ in range(steps):
        gains = ops.log_softmax(advance(Tensor(last, backend)), axis=-1).data
        check_logits(gains.max(axis=-1), backend)
        gains = _allowed(xp, gains.reshape(batch, beam, -1), ended, tokens)
        vocabulary = gains.shape[-1]
        lengths = lengths + ~ended
        totals = (scores[:, :, None] + gains).reshape(batch, -1)
        ranks = totals / xp.repeat(lengths**length_penalty, vocabulary, axis=1)
        chosen = _largest(xp, ranks, beam)  # (batch, beam), the best first
        parent, token = chosen // vocabulary, chosen % vocabulary
        scores = xp.take_along_axis(totals, chosen, axis=1)
        lengths = xp.take_along_axis(lengths, parent, axis=1)
        ended = xp.take_along_axis(ended, parent, axis=1) | (token == tokens.end)
        written = xp.concatenate([written[row, parent], token[:, :, None]], axis=2)
        if bool(ended.all()):
            break
        if beam > 1:
            reorder(Tensor((row * beam + parent).reshape(-1), backend))
        last = token.reshape(-1, 1)
    return Tensor(written[:, 0], backend)


def _allowed(xp: Any, gains: Array, ended: Array, tokens: Tokens) -> Array:
    """Gains of allowed tokens: padding only after the end, no padding or start token before."""
    number = xp.arange(gains.shape[-1])
    padding = number == tokens.padding
    gains = xp.where(padding | (number == tokens.start), -xp.inf, gains)
    return xp.where(ended[:, :, None], xp.where(padding, 0.0, -xp.inf), gains)


def _largest(xp: Any, values: Array, count: int) -> Array:
    """Indices of the largest values of each row, the largest first; overwrites the values."""
    rows, found = xp.arange(len(values)), []
    for _ in range(count):
        found.append(values.argmax(axis=1))
        values[rows, found[-1]] = -xp.inf
    return xp.stack(found, axis=1)
