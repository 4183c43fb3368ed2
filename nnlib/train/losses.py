"""Losses: by name, of a batch with their divisor, and collected on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import signature
from numbers import Integral, Real
from typing import Any, TypeAlias

from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, OptionError, ShapeError, describe, did_you_mean
from nnlib.nn import Module
from nnlib.nn import functional as F
from nnlib.nn.functional.counted import Count, counting
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["LOSSES", "LossFunction", "Losses", "get_loss", "ignore_index_of", "mean", "measured"]

_CHUNK = 1024  # separate values that are joined to one array, without reading them

LossFunction: TypeAlias = "Callable[[Any, Tensor], Tensor | tuple[Tensor, Tensor | float]]"

LOSSES: dict[str, LossFunction] = {
    "cross_entropy": F.cross_entropy,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}


def get_loss(loss: str | LossFunction) -> LossFunction:
    """Return a loss by name; a module or function ``(output, target) → mean loss`` stays.

    Raises
    ------
    OptionError
        If there is no loss of that name.
    DTypeError
        If it is neither a name nor callable.

    Examples
    --------
    >>> get_loss("mse").__name__
    'mse_loss'
    """
    if isinstance(loss, str):
        if loss in LOSSES:
            return LOSSES[loss]
        hint = did_you_mean(loss, LOSSES)
        raise OptionError(f"a loss must be one of {', '.join(LOSSES)}. Received: {loss!r}.{hint}")
    if not callable(loss) or isinstance(loss, type):
        raise DTypeError(
            f"a loss must be a name, a module or a function (output, target). Received: {loss!r}"
            + (" (a class: write it with parentheses)" if isinstance(loss, type) else "")
        )
    return loss


def ignore_index_of(loss: LossFunction) -> int | None:
    """Return the label that a loss ignores: its own ``ignore_index``, or that of a loss inside it.

    Examples
    --------
    >>> from functools import partial
    >>> from nnlib import nn
    >>> ignore_index_of(nn.CrossEntropyLoss(ignore_index=0))
    0
    >>> ignore_index_of(F.cross_entropy), ignore_index_of(partial(F.nll_loss, ignore_index=2))
    (-100, 2)
    """
    parts = loss.modules() if isinstance(loss, Module) else [loss]
    found = {part.ignore_index for part in parts if hasattr(part, "ignore_index")}
    if not found and not isinstance(loss, Module):
        with suppress(TypeError, ValueError):  # a function without a signature
            found = {
                parameter.default
                for name, parameter in signature(loss).parameters.items()
                if name == "ignore_index"
            }
    indices = [int(index) for index in found if isinstance(index, Integral)]
    return indices[0] if len(found) == 1 and indices else None


def measured(
    function: Callable[[Any, Tensor], Any], output: Any, target: Tensor, what: str
) -> tuple[Tensor, Count]:
    """Compute a loss or metric of a batch, and the divisor of its mean.

    Returns
    -------
    value : Tensor
        One value.
    count : Tensor, float or None
        Divisor of a loss of `nnlib.nn`: the number of values, of labels that are not ignored, or
        the sum of their weights; None if it is a sum.  Of another function the second of a
        returned pair, or else the number of samples.

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


class Losses:
    """The losses of batches, kept on their device; `read` copies all at once.

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
        """Add a batch's loss and its divisor, see `measured`; nothing is read."""
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
        """Wait for the device, copy all losses together, and start a new list.

        Parameters
        ----------
        extras : sequence of Tensor
            Other single values to read at the same time.

        Returns
        -------
        steps : list of (loss, count)
            One for each step, for `mean`; several batches of a step count as one larger batch.
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
                loss = 0.0  # an empty mean
            by_step.setdefault(step, []).append((loss, weight))
        self._chunks, self._batches = [], []
        steps = [(mean(batches), sum(n for _, n in batches)) for batches in by_step.values()]
        return steps, list(values)


def mean(losses: Sequence[tuple[float, float]]) -> float:
    """Mean of losses weighted by their divisors, each a pair (loss, count).

    A count of 0 marks a sum without a divisor: sums are added.

    Examples
    --------
    >>> mean([(1.0, 3), (5.0, 1)])
    2.0
    >>> mean([(1.0, 0), (5.0, 0)])
    6.0
    """
    return sum(loss * n if n else loss for loss, n in losses) / (sum(n for _, n in losses) or 1)
