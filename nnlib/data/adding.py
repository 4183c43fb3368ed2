"""The adding problem: remember and add two numbers of a long sequence."""

from __future__ import annotations

import numpy as np

from nnlib.data.dataset import ArrayDataset
from nnlib.errors import OptionError

__all__ = ["adding_problem"]


def adding_problem(count: int, length: int = 100, seed: int = 0) -> ArrayDataset:
    """Draw sequences of the adding problem, which tests how long a network remembers numbers.

    Each step of a sequence is a pair: a value, uniform in [−1, 1], and a marker.  Two values are
    marked by 1: X₁ among the first ten, then X₂ among the first T/2 − 1 that are not marked yet.
    The markers of the first and of the last step are −1, all others 0.  The target, asked for after
    the last step, is 0.5 + (X₁ + X₂)/4, in [0, 1].  A sequence has T to T + T/10 steps, so that the
    numbers have to be kept for at least T/2 steps.  Where the first value of all is chosen, which
    has its marker already, it is 0 (the paper says so of X₁; here it goes for X₂, too).

    A sequence is processed correctly if the absolute error is below 0.04.

    Parameters
    ----------
    count : int
        How many sequences.
    length : int
        T, at least 20.
    seed : int
        The same sequences for the same seed, always; other ones for another.

    Returns
    -------
    ArrayDataset
        Of the sequences, float32 (count, T + T//10, 2), with zeros after their end; their numbers
        of steps, int64 (count,); and the targets, float32 (count, 1).

    Raises
    ------
    OptionError
        If ``count`` or ``length`` is too small.

    Notes
    -----
    Experiment 4 in S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation
    9 (1997): their LSTM needed 74,000 sequences for T = 100, after which 1 of 2,560 new ones was
    processed wrongly.

    Examples
    --------
    >>> data = adding_problem(1000)
    >>> data
    ArrayDataset(1000 × [float32 (110, 2), int64 (), float32 (1,)])
    >>> x, steps, target = data[0]
    >>> x[:steps][x[:steps, 1] == 1, 0].sum() / 4 + 0.5 == target
    array([ True])
    """
    if count < 1 or length < 20:
        raise OptionError(
            f"count must be at least 1 and length at least 20. Received: {count} and {length}"
        )
    rng = np.random.default_rng(seed)
    longest, rows = length + length // 10, np.arange(count)
    steps = rng.integers(length, longest + 1, count)
    values = rng.uniform(-1, 1, (count, longest)).astype(np.float32)
    first = rng.integers(10, size=count)
    second = rng.integers(length // 2 - 1, size=count)
    second += second >= first  # skip the position of the first
    values[(first == 0) | (second == 0), 0] = 0
    markers = np.zeros((count, longest), np.float32)
    markers[rows, first] = markers[rows, second] = 1
    markers[:, 0] = markers[rows, steps - 1] = -1
    target = 0.5 + (values[rows, first] + values[rows, second]) / 4
    x = np.stack([values, markers], axis=-1)
    x[np.arange(longest) >= steps[:, None]] = 0
    return ArrayDataset(x, steps, target[:, None])
