"""Losses that wait on the device until somebody wants to know them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import ShapeError, describe
from nnlib.nn.functional.counted import Count, counting
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["Losses", "mean", "measured"]

_CHUNK = 1024  # so many separate values are put into one array, without reading them


class Losses:
    """The losses of batches, kept where they were computed; `read` copies all at once.

    Parameters
    ----------
    backend : Backend
        Where they are.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._values: list[Array] = []
        self._chunks: list[Array] = []
        self._batches: list[tuple[int, Count]] = []  # (step, count) of each

    def add(self, loss: Tensor, step: int, count: Count) -> None:
        """Keep a batch's loss and what it is the mean over, see `measured`; nothing is read."""
        self._keep(loss)
        self._batches.append((step, count))
        if isinstance(count, Tensor):
            self._keep(count)

    def _keep(self, value: Tensor) -> None:
        self._values.append(value.data.reshape(()))
        if len(self._values) == _CHUNK:
            self._gather()

    def _gather(self) -> None:
        if self._values:
            xp = self._backend.xp
            self._chunks.append(xp.stack(self._values).astype(xp.float64))
            self._values = []

    def read(self, extras: Sequence[Tensor] = ()) -> tuple[list[tuple[float, float]], list[float]]:
        """Wait for the device, copy all losses in one piece, and start anew.

        Parameters
        ----------
        extras : sequence of Tensor
            Other single values to read on the way.

        Returns
        -------
        steps : list of (loss, count)
            One for each step, for `mean`; of a step of several batches that of one larger batch.
        extras : list of float
        """
        for extra in extras:
            self._keep(extra)
        self._gather()
        if not self._chunks:
            return [], []
        values = iter(self._backend.to_numpy(self._backend.xp.concatenate(self._chunks)).tolist())
        by_step: dict[int, list[tuple[float, float]]] = {}
        for step, count in self._batches:
            loss = next(values)
            weight = next(values) if isinstance(count, Tensor) else count or 0.0
            if weight == 0 and loss != loss:
                loss = 0.0  # the mean of nothing
            by_step.setdefault(step, []).append((loss, weight))
        self._chunks, self._batches = [], []
        steps = [(mean(batches), sum(n for _, n in batches)) for batches in by_step.values()]
        return steps, list(values)


def mean(losses: Sequence[tuple[float, float]]) -> float:
    """Mean over all that several losses are means over, each a pair (loss, count).

    A count of 0 stands for a sum, which was divided by nothing: sums add up.

    Examples
    --------
    >>> mean([(1.0, 3), (5.0, 1)])
    2.0
    >>> mean([(1.0, 0), (5.0, 0)])
    6.0
    """
    return sum(loss * n if n else loss for loss, n in losses) / (sum(n for _, n in losses) or 1)


def measured(
    function: Callable[[Any, Tensor], Any], output: Any, target: Tensor, what: str
) -> tuple[Tensor, Count]:
    """Compute a loss or metric of a batch, and what it is the mean over.

    Returns
    -------
    value : Tensor
        One value.
    count : Tensor, float or None
        Of a loss of `nnlib.nn`, by what it was divided: the number of values, of labels that are
        not ignored, or the sum of their weights; None if it is a sum.  Of another function, what it
        returned as the second of a pair, or else the number of examples.

    Raises
    ------
    ShapeError
        If it is not a single value, with the way to fix it.
    """
    with counting() as counts:
        value = function(output, target)
    if isinstance(value, tuple) and len(value) == 2:
        value, count = value
        if not _is_single(count) and not (isinstance(count, Real) and 0 <= float(count) < math.inf):
            raise ShapeError(
                f"{what} must return one value, or a pair: the mean over the batch, and the number "
                f"that it was divided by. Received: {describe(count)} for that number"
            )
        count = count if isinstance(count, Tensor) else float(count)
    else:
        count = counts.of(value, target.shape[0])
    if not _is_single(value):
        raise ShapeError(
            f"{what} must return a tensor with one value, the mean over the batch. "
            f"Received: {describe(value)}. Take its mean()"
        )
    return value, count.detach() if isinstance(count, Tensor) else count


def _is_single(value: object) -> bool:
    return isinstance(value, Tensor) and value.size == 1
