"""The crossover: the size from which a GPU is faster."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from nnlib_benchmarks.records import Crossover, Operation


def find_crossover(
    sizes: Sequence[int], reference: Sequence[float], contestant: Sequence[float]
) -> tuple[str, int | None, float | None]:
    """Find the smallest size at and above which the contestant is faster.

    Parameters
    ----------
    sizes : sequence of int
        Ascending.
    reference, contestant : sequence of float
        Seconds at those sizes.

    Returns
    -------
    verdict : str
        ``"from"``, ``"always"`` or ``"never"``.
    size : int or None
        The smallest such size; ``None`` for ``"never"``.
    estimate : float or None
        Where the curves cross between that size and the one below, log-log; only for ``"from"``.

    Examples
    --------
    >>> find_crossover([10, 100, 1000], [1.0, 10.0, 100.0], [20.0, 20.0, 20.0])
    ('from', 1000, 200.0)
    """
    wins = [c < r for r, c in zip(reference, contestant, strict=True)]
    if not wins or not wins[-1]:
        return "never", None, None
    first = len(wins)
    while first > 0 and wins[first - 1]:
        first -= 1
    if first == 0:
        return "always", sizes[0], None
    return "from", sizes[first], _crossing(sizes, reference, contestant, first)


def _crossing(
    sizes: Sequence[int], reference: Sequence[float], contestant: Sequence[float], i: int
) -> float:
    """Interpolate log(contestant/reference) over log(size) to where it is zero."""
    low, high = (math.log(contestant[k] / reference[k]) for k in (i - 1, i))
    x0, x1 = math.log(sizes[i - 1]), math.log(sizes[i])
    share = low / (low - high) if low != high else 1.0
    return float(f"{math.exp(x0 + share * (x1 - x0)):.6g}")


def crossovers(
    operations: Sequence[Operation], reference: str, rivals: Sequence[str]
) -> list[Crossover]:
    """Find the crossover of every operation for every other backend of nnlib.

    Sizes at which the results disagree are left out.
    """
    curves: dict[tuple[str, str, str], list[Operation]] = defaultdict(list)
    for point in operations:
        curves[point.operation, point.direction, point.unit].append(point)
    found = []
    for (operation, direction, unit), points in curves.items():
        for name in rivals:
            usable = sorted((p for p in points if _comparable(p, reference, name)), key=_size)
            if usable:
                verdict, size, estimate = find_crossover(
                    [p.size for p in usable],
                    [p.times[reference].median for p in usable],
                    [p.times[name].median for p in usable],
                )
                found.append(
                    Crossover(operation, direction, unit, reference, name, verdict, size, estimate)
                )
    return found


def _size(point: Operation) -> int:
    return point.size


def _comparable(point: Operation, reference: str, name: str) -> bool:
    wrong = any(a.contestant == name and not a.agree for a in point.agreements)
    return reference in point.times and name in point.times and not wrong
