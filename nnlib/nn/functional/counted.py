"""Divisors of mean losses, needed to combine the losses of several batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from nnlib.autograd import Tensor

__all__ = ["Count", "Counts", "counting", "noted"]

Count: TypeAlias = "Tensor | float | None"
"""Divisor of a mean: a number or a 0-d tensor; None for a sum."""


class Counts:
    """The losses that were computed while `counting`, each with the divisor of its mean."""

    def __init__(self) -> None:
        self._noted: list[tuple[Tensor, Count]] = []

    def add(self, loss: Tensor, count: Count) -> None:
        """Add a loss."""
        self._noted.append((loss, count))

    def of(self, value: Any, default: Count) -> Count:
        """Return the divisor of a value if it is one of these losses, unchanged."""
        return next((count for loss, count in self._noted if loss is value), default)

    def passed_to(self, value: Tensor) -> Tensor:
        """Return a value computed from the last of these losses, with the same divisor."""
        return noted(value, self._noted[-1][1]) if self._noted else value


_counts: ContextVar[Counts | None] = ContextVar("nnlib_counts", default=None)


@contextmanager
def counting() -> Iterator[Counts]:
    """Collect the divisors of losses inside a ``with`` block.

    Examples
    --------
    >>> from nnlib.nn import functional as F
    >>> with counting() as counts:
    ...     loss = F.cross_entropy([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], [1, -100, 0])
    >>> counts.of(loss, default=3)
    tensor(2.)
    """
    counts = Counts()
    token = _counts.set(counts)
    try:
        yield counts
    finally:
        _counts.reset(token)


def noted(loss: Tensor, count: Count) -> Tensor:
    """Return a loss; inside `counting` note the divisor of its mean."""
    counts = _counts.get()
    if counts is not None:
        counts.add(loss, count)
    return loss
