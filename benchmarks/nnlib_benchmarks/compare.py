"""Comparison of two runs: significantly slower measurements."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nnlib_benchmarks.errors import DifferentMachinesError
from nnlib_benchmarks.findings import BUSY
from nnlib_benchmarks.records import Machine, Run, Timing

ALPHA = 0.01  #: one-sided significance of the Mann–Whitney test
FAST = 0.05  #: quantile of a run's fastest samples
MIN_EFFECT = 0.05  #: smaller relative differences of medians are ignored, however significant


@dataclass(frozen=True)
class Change:
    """One measurement in both runs.

    Attributes
    ----------
    what, contestant : str
        The measurement and its backend.
    before, after : float
        Medians in seconds.
    ratio, fast_ratio : float
        ``after / before`` of the medians, and of the fastest samples (5 % quantiles).
    p : float
        One-sided p-value, of being slower where the ratio is above 1, of being faster otherwise.
    verdict : str
        ``"slower"``, ``"faster"``, ``"same"``, or ``"unsure"``: the medians differ, but the samples
        are too few or too scattered to call it.
    """

    what: str
    contestant: str
    before: float
    after: float
    ratio: float
    fast_ratio: float
    p: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Measurements that two runs have in common, and those of only one."""

    changes: list[Change]
    warnings: list[str]
    machine_differences: list[str]
    software_differences: list[str]
    only_before: list[str]
    only_after: list[str]

    def with_verdict(self, verdict: str) -> list[Change]:
        """Return the changes of one verdict, the largest first."""
        chosen = [change for change in self.changes if change.verdict == verdict]
        return sorted(chosen, key=lambda change: abs(math.log(change.ratio)), reverse=True)


def compare_runs(
    before: Run,
    after: Run,
    *,
    alpha: float = ALPHA,
    min_effect: float = MIN_EFFECT,
    force: bool = False,
) -> Comparison:
    """Compare two runs.

    Parameters
    ----------
    before, after : Run
        As `nnlib_benchmarks.schema.load_run` returns them.
    alpha : float
        Significance level, one-sided.
    min_effect : float
        Smallest relative change of the median that counts.
    force : bool
        Compare even if the machines differ.

    Raises
    ------
    DifferentMachinesError
        If the runs come from different machines and `force` is not set.

    Notes
    -----
    The test is Mann and Whitney's (1947): whether a sample of one run tends to be larger than one
    of the other.  It assumes no distribution, because times have long tails, but independent
    samples, which a temporary slowdown of the processor violates.  Such noise only adds time, so a
    change must also show in the fastest samples (Chen and Revels, "Robust benchmarking in noisy
    environments", 2016).  No test can distinguish a slowdown of a whole run from slow code.
    """
    differences = machine_differences(before.machine, after.machine)
    if differences and not force:
        raise DifferentMachinesError(
            "the two runs must come from one machine. Received: "
            + "; ".join(differences)
            + ". Compare them nevertheless with --force."
        )
    old, new = dict(_measurements(before)), dict(_measurements(after))
    changes = [judge(*key, old[key], new[key], alpha, min_effect) for key in old if key in new]
    return Comparison(
        changes=changes,
        warnings=[
            f"Other programs used {run.cpu_used_by_others:.0%} of the processor during the {which} "
            "run: what follows may be their doing."
            for which, run in (("first", before), ("second", after))
            if run.cpu_used_by_others > BUSY
        ],
        machine_differences=differences,
        software_differences=software_differences(before.machine, after.machine),
        only_before=[" · ".join(key) for key in old if key not in new],
        only_after=[" · ".join(key) for key in new if key not in old],
    )


def judge(
    what: str, contestant: str, old: Timing, new: Timing, alpha: float, min_effect: float
) -> Change:
    """Decide about one measurement; see `compare_runs`.

    Examples
    --------
    >>> old = Timing.from_samples([1.0, 1.1, 1.05, 1.02, 1.08])
    >>> new = Timing.from_samples([2.0, 2.1, 2.05, 2.02, 2.08])
    >>> judge("step", "numpy", old, new, 0.01, 0.05).verdict
    'slower'
    """
    from scipy.stats import mannwhitneyu

    ratio = new.median / old.median
    slower = ratio >= 1
    p = float(
        mannwhitneyu(new.samples, old.samples, alternative="greater" if slower else "less").pvalue
    )
    fast_ratio = float(np.quantile(new.samples, FAST) / np.quantile(old.samples, FAST))
    seen_in_both = min(ratio, fast_ratio) if slower else 1 / max(ratio, fast_ratio)
    if max(ratio, 1 / ratio) < 1 + min_effect:
        verdict = "same"
    elif p > alpha or seen_in_both < 1 + min_effect:
        verdict = "unsure"
    else:
        verdict = "slower" if slower else "faster"
    return Change(what, contestant, old.median, new.median, ratio, fast_ratio, p, verdict)


def _measurements(run: Run) -> Iterator[tuple[tuple[str, str], Timing]]:
    for training in run.training:
        for result in training.results:
            name = f"{training.workload} ({training.model}, batch {training.batch})"
            yield (f"{name} compute-only step", result.contestant), result.compute
            yield (f"{name} end-to-end step", result.contestant), result.end_to_end
    for point in run.operations:
        for contestant, timing in point.times.items():
            yield (f"{point.operation} {point.shape} {point.direction}", contestant), timing


def machine_differences(a: Machine, b: Machine) -> list[str]:
    """List differences of two machines: processor, cores, memory (by more than 5 %), GPUs."""
    found = [
        f"{label}: {x!r} and {y!r}"
        for label, x, y in (
            ("processor", a.cpu, b.cpu),
            ("cores", a.cores, b.cores),
            ("usable threads", a.threads, b.threads),
            ("GPUs", a.gpus, b.gpus),
        )
        if x != y
    ]
    if abs(a.memory_bytes - b.memory_bytes) > 0.05 * max(a.memory_bytes, b.memory_bytes):
        found.append(f"memory: {a.memory_bytes} and {b.memory_bytes} bytes")
    return found


def software_differences(a: Machine, b: Machine) -> list[str]:
    """List differences of software and settings, often the subject of the comparison."""
    found = []
    pairs = [
        ("nnlib", a.nnlib_version, b.nnlib_version),
        ("commit", a.git_commit, b.git_commit),
        ("system", a.system, b.system),
        ("Python", a.python, b.python),
        ("BLAS", _blas(a), _blas(b)),
    ]
    for kind in ("packages", "environment"):
        old, new = getattr(a, kind), getattr(b, kind)
        pairs += [(name, old.get(name), new.get(name)) for name in sorted({*old, *new})]
    for label, x, y in pairs:
        if x != y:
            found.append(f"{label}: {x} → {y}")
    return found


def _blas(machine: Machine) -> str:
    return ", ".join(f"{b.name} {b.version} ({b.threads} threads)" for b in machine.blas)
