"""Cliffs in step times over size, and the cost of one more small layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnlib_benchmarks.records import Operation


@dataclass(frozen=True)
class Cliff:
    """The largest deviation of a curve from the line between neighbouring sizes.

    Attributes
    ----------
    size : int
        The size.
    ratio : float
        Measured time over the time interpolated (log-log) between the neighbouring sizes.
    """

    size: int
    ratio: float


def largest_cliff(sizes: Sequence[int], seconds: Sequence[float]) -> Cliff | None:
    """Find the largest cliff; ``None`` for fewer than three sizes.

    Parameters
    ----------
    sizes : sequence of int
        Ascending.
    seconds : sequence of float
        At those sizes.

    Examples
    --------
    >>> largest_cliff([1, 2, 4, 8, 16], [1.0, 2.0, 12.0, 8.0, 16.0])
    Cliff(size=4, ratio=3.0)
    """
    found = []
    for i in range(1, len(sizes) - 1):
        low, here, high = (math.log(n) for n in sizes[i - 1 : i + 2])
        share = (here - low) / (high - low)
        expected = seconds[i - 1] ** (1 - share) * seconds[i + 1] ** share
        found.append(Cliff(sizes[i], float(f"{seconds[i] / expected:.6g}")))
    return max(found, key=lambda cliff: cliff.ratio, default=None)


def curve(points: Sequence[Operation], operation: str, name: str) -> tuple[list[int], list[float]]:
    """Return a contestant's sizes and median seconds in a sweep, where its losses agree."""
    chosen = sorted(
        (p.size, p.times[name].median)
        for p in points
        if p.operation == operation
        and name in p.times
        and not any(a.contestant == name and not a.agree for a in p.agreements)
    )
    return [size for size, _ in chosen], [seconds for _, seconds in chosen]


def seconds_per_layer(depths: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Cost of one more layer: the slope between the two deepest networks.

    Examples
    --------
    >>> seconds_per_layer([10, 100, 300], [0.1, 1.0, 7.0])
    0.03
    """
    if len(depths) < 2:
        return None
    (shallow, deep), (a, b) = depths[-2:], seconds[-2:]
    return (b - a) / (deep - shallow)
