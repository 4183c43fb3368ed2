"""Losses that wait on the device until somebody wants to know them."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.autograd import Tensor
from nnlib.errors import ShapeError, describe
from nnlib_backends import Backend
from nnlib_backends.contract import Array

__all__ = ["Losses", "mean", "single_value"]

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
        self._weights: list[tuple[int, int]] = []  # (step, examples) of each batch

    def add(self, loss: Tensor, step: int, examples: int) -> None:
        """Keep a batch's loss, the mean over its examples; nothing is read."""
        self._values.append(loss.data.reshape(()))
        self._weights.append((step, examples))
        if len(self._values) == _CHUNK:
            self._gather()

    def _gather(self) -> None:
        if self._values:
            xp = self._backend.xp
            self._chunks.append(xp.stack(self._values).astype(xp.float64))
            self._values = []

    def read(self, extras: Sequence[Tensor] = ()) -> tuple[list[tuple[float, int]], list[float]]:
        """Wait for the device, copy all losses in one piece, and start anew.

        Parameters
        ----------
        extras : sequence of Tensor
            Other single values to read on the way.

        Returns
        -------
        steps : list of (loss, examples)
            One for each step; a step of several batches has their mean.
        extras : list of float
        """
        self._values += [extra.data.reshape(()) for extra in extras]
        self._gather()
        if not self._chunks:
            return [], []
        values = self._backend.to_numpy(self._backend.xp.concatenate(self._chunks)).tolist()
        weights, count = self._weights, len(self._weights)
        self._chunks, self._weights = [], []
        by_step: dict[int, list[tuple[float, int]]] = {}
        for value, (step, examples) in zip(values, weights, strict=False):
            by_step.setdefault(step, []).append((value, examples))
        steps = [(mean(batches), sum(n for _, n in batches)) for batches in by_step.values()]
        return steps, values[count:]


def mean(losses: Sequence[tuple[float, int]]) -> float:
    """Weighted mean of (loss, examples): right also when the last batch is smaller.

    Examples
    --------
    >>> mean([(1.0, 3), (5.0, 1)])
    2.0
    """
    return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


def single_value(value: object, what: str) -> Tensor:
    """Refuse a loss or metric that is not a single value.

    Raises
    ------
    ShapeError
        With the way to mend it.
    """
    if not isinstance(value, Tensor) or value.size != 1:
        raise ShapeError(
            f"{what} must return a tensor with one value, the mean over the batch. "
            f"Received: {describe(value)}. Take its mean()"
        )
    return value
