"""Comparison with other libraries: ratios, and their means over workloads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnlib_benchmarks.records import Run, Training, TrainingResult
from nnlib_benchmarks.workloads import GROUPS

EAGER_PEERS = ("torch", "torch-cuda")  #: numerators of the first column of ratios


@dataclass(frozen=True)
class Standing:
    """Ratios of the peers to the reference in one workload.

    Attributes
    ----------
    over_eager : float or None
        PyTorch eager's median step time over the reference's: above 1 the reference is faster.
    over_fastest : float or None
        The same for the fastest peer.  Both are peers on the reference's device: CPU or GPU.
    fastest : str or None
        Its name.
    """

    over_eager: float | None
    over_fastest: float | None
    fastest: str | None


def peer_names(run: Run) -> list[str]:
    """Names of the peers that took part."""
    return [c.name for c in run.contestants if c.kind == "peer"]


def result_of(training: Training, name: str) -> TrainingResult | None:
    """Return a contestant's result, or ``None`` if it did not take part."""
    return next((r for r in training.results if r.contestant == name), None)


def disagrees(training: Training, name: str) -> bool:
    """Whether a contestant's losses differ from the reference's."""
    return any(a.contestant == name and not a.agree for a in training.agreements)


def standing(run: Run, training: Training) -> Standing:
    """Compare the reference with those peers on its device that agree with it."""
    by_name = {c.name: c for c in run.contestants}
    ours = training.results[0]
    rivals = [
        c.name
        for c in run.contestants
        if c.kind == "peer" and c.on_gpu == by_name[ours.contestant].on_gpu
    ]
    ratios = {
        r.contestant: r.compute.median / ours.compute.median
        for r in training.results
        if r.contestant in rivals and not disagrees(training, r.contestant)
    }
    fastest = min(ratios, key=lambda name: ratios[name], default=None)
    eager = next((ratios[name] for name in EAGER_PEERS if name in ratios), None)
    return Standing(eager, None if fastest is None else ratios[fastest], fastest)


def geometric_mean(ratios: Sequence[float | None]) -> float | None:
    """Geometric mean of ratios; ``None`` values are left out.

    Examples
    --------
    >>> geometric_mean([2.0, 0.5, None])
    1.0
    """
    logs = [math.log(ratio) for ratio in ratios if ratio is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def groups(run: Run) -> Iterator[tuple[str, list[Training]]]:
    """Sort workloads into the groups of ``--workloads``; a mean is over one group.

    A workload in several groups belongs to one that was requested as a whole, if there is one.
    """
    asked = set(run.settings.workloads)
    rest = list(run.training)
    for name in sorted(GROUPS, key=lambda name: not asked.issuperset(GROUPS[name])):
        chosen = [t for t in rest if t.workload in GROUPS[name]]
        rest = [t for t in rest if t not in chosen]
        if chosen:
            yield name, chosen
    if rest:
        yield "other workloads", rest
