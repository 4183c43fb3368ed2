"""Tables of single operations and whole steps over their size."""

from __future__ import annotations

from collections import defaultdict

from nnlib_benchmarks import units
from nnlib_benchmarks.records import Crossover, Operation, Run
from nnlib_benchmarks.tables import NOTHING, Table

DIRECTIONS = ("forward", "forward+backward")


def crossover_table(run: Run) -> Table | None:
    """Crossovers; a row for each operation."""
    answers: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for c in run.crossovers:
        answers[c.operation, c.contestant, c.unit][c.direction] = _answer(c)
    rows = [
        [operation, who, *(found.get(d, NOTHING) for d in (*DIRECTIONS, "training step")), unit]
        for (operation, who, unit), found in answers.items()
    ]
    columns = ["", "contestant", *DIRECTIONS, "training step", "size counts"]
    title = f"Crossover: the smallest size from which the GPU beats {run.contestants[0].name}"
    return Table(title, columns, rows, words=6) if rows else None


def _answer(c: Crossover) -> str:
    if c.verdict == "never":
        return "never"
    if c.verdict == "always":
        return f"always (≤ {units.count(c.size or 0)})"
    about = f" (near {units.count(c.estimate)})" if c.estimate else ""
    return f"from {units.count(c.size or 0)}{about}"


def operations_table(run: Run, *, smallest: bool = False) -> Table | None:
    """Each operation at its largest size, forward and backward, and optionally at its smallest."""
    groups: dict[str, dict[int, list[Operation]]] = defaultdict(lambda: defaultdict(list))
    for point in run.operations:
        groups[point.operation][point.size].append(point)
    names = list(dict.fromkeys(n for p in run.operations for n in p.times))
    rows = []
    for operation, by_size in groups.items():
        shown = {min(by_size), max(by_size)} if smallest else {max(by_size)}
        for size in sorted(shown):
            points = by_size[size]
            cells = [" / ".join(_time_and_rate(p, name) for p in points) for name in names]
            rows.append([operation, points[0].shape, *cells])
    sizes = "smallest and largest size" if smallest else "largest size (all sizes: see the page)"
    title = f"Operations at their {sizes}: forward / forward and backward; sweeps: a training step"
    return Table(title, ["", "shape", *names], rows, words=2) if rows else None


def _time_and_rate(point: Operation, name: str) -> str:
    timing = point.times.get(name)
    if timing is None:
        return NOTHING
    if any(a.contestant == name and not a.agree for a in point.agreements):
        return "DISAGREES"
    if point.flops:
        return f"{units.seconds(timing.median)} ({units.rate(point.flops / timing.median)})"
    return (
        f"{units.seconds(timing.median)} ({units.digits(point.bytes / timing.median / 1e9)} GB/s)"
    )
