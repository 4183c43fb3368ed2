"""What a loss is the mean over: needed to put the losses of several batches together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from nnlib.autograd import Tensor

__all__ = ["Count", "Counts", "counting", "noted"]

Count: TypeAlias = "Tensor | float | None"
"""By what a mean was divided: a number, or a tensor without axes; None for a sum, which adds up."""


class Counts:
    """The losses that were computed while `counting`, and what each is the mean over."""

    def __init__(self) -> None:
        self._noted: list[tuple[Tensor, Count]] = []

    def add(self, loss: Tensor, count: Count) -> None:
        """Take in a loss."""
        self._noted.append((loss, count))

    def of(self, value: Any, default: Count) -> Count:
        """Return what a value is the mean over, if it is one of these losses as it was computed."""
        return next((count for loss, count in self._noted if loss is value), default)

    def passed_to(self, value: Tensor) -> Tensor:
        """Return a value that was made of the last of these losses, noted as that one was."""
        return noted(value, self._noted[-1][1]) if self._noted else value


_counts: ContextVar[Counts | None] = ContextVar("nnlib_counts", default=None)


@contextmanager
def counting() -> Iterator[Counts]:
    """Note what losses are means over, in this block.

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
    """Return a loss, after noting what it is the mean over if anybody wants to know."""
    counts = _counts.get()
    if counts is not None:
        counts.add(loss, count)
    return loss
