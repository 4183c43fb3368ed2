"""Subsets of a training set: nested, stratified by class, in repeated passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.data import ArrayDataset
from nnlib.random import Generator

__all__ = ["Rows", "passes", "stratified_order"]

Indices = npt.NDArray[np.int64]


class Rows:
    """Rows of a data set in a given order, repeated or not; nothing is copied.

    Parameters
    ----------
    dataset : ArrayDataset
    rows : array of int64, (N,)
        Their indices in it.

    Examples
    --------
    >>> letters = Rows(ArrayDataset(np.array([10, 20, 30])), np.array([2, 0, 2, 2]))
    >>> letters[np.array([0, 1])]
    (array([30, 10]),)
    """

    def __init__(self, dataset: ArrayDataset, rows: Indices) -> None:
        self.dataset, self.rows = dataset, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return self.dataset[self.rows[index]]


def stratified_order(targets: npt.NDArray[Any], generator: Generator) -> Indices:
    """Order samples at random so that the first n are stratified by class, for every n.

    Parameters
    ----------
    targets : array
        One row for each sample.  If a row is one value, equal values are a class.  Targets of
        regression are all different, so their order is random; so is that of rows of several
        values.
    generator : Generator
        Draws the order.

    Returns
    -------
    array of int64, (N,)

    Notes
    -----
    The k-th of the n samples of a class is sorted by (k + ½) / n.

    Examples
    --------
    >>> order = stratified_order(np.array([0, 0, 0, 0, 1, 1]), Generator(0))
    >>> sorted((order[:3] >= 4).tolist())  # a third of every beginning is of class 1
    [False, False, True]
    """
    count = len(targets)
    order = generator.permutation(count)
    if targets.size != count:
        return np.asarray(order)
    _, classes = np.unique(targets.reshape(-1)[order], return_inverse=True)
    by_class = classes.argsort(kind="stable")  # within a class in random order
    sizes = np.bincount(classes)
    rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    keys = np.empty(count)
    keys[by_class] = (rank + 0.5) / np.repeat(sizes, sizes)
    # stable: classes of one size have equal keys, and stay in random order
    return np.asarray(order[keys.argsort(kind="stable")])


def passes(rows: Indices, count: int, generator: Generator) -> Indices:
    """Repeat rows, in a new random order each pass, until there are ``count``.

    Batches of the result may cross the end of a pass, so that all have one shape.

    Examples
    --------
    >>> passes(np.array([7, 8]), 5, Generator(0)).shape
    (5,)
    """
    times = -(-count // len(rows))
    keys = generator.bits(2 * times * len(rows), "numpy").astype(np.uint64)
    high, low = keys.reshape(2, times, len(rows))
    order = (high << np.uint64(32) | low).argsort(axis=1, kind="stable")
    return np.asarray(rows[order].reshape(-1)[:count])
