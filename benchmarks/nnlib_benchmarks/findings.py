"""Findings of a run in sentences: failures first, then speed-ups, then notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnlib_benchmarks import units
from nnlib_benchmarks.comparison import geometric_mean, groups, peer_names, standing
from nnlib_benchmarks.records import Claim, Contestant, Run, Training
from nnlib_benchmarks.tables import NO_GPU, contestant

BUSY = 0.1  #: share of the processor used by others, above which times are unreliable
SCATTER = 0.3  #: interquartile range, as a share of the median, above which a median is unreliable


@dataclass(frozen=True)
class Finding:
    """One sentence of the summary: kind ``"good"``, ``"bad"`` or ``"note"``."""

    kind: str
    text: str


def findings(run: Run) -> list[Finding]:
    """List the findings, failures first."""
    found = [Finding("bad", f"FAILED: {failure}.") for failure in run.failures]
    for training in run.training:
        found += [Finding("good", text) for text in _speedup_sentences(run, training)]
    found += [Finding("note", text) for text in _comparison_sentences(run)]
    if run.claim is not None:
        found.append(Finding("note", _claim_sentence(run.claim)))
    found += [Finding("note", text) for text in _doubts(run)]
    for missing in run.missing:
        if missing.name not in run.settings.peers:  # a peer that failed is among the failures
            text = f"{NO_GPU}. {missing.detail} To fix it: {missing.remedy}"
            found.append(Finding("note", text))
    return found


def _speedup_sentences(run: Run, training: Training) -> Iterator[str]:
    for speedup in training.speedups:
        if speedup.contestant in peer_names(run):
            continue  # the comparison has a separate sentence
        a, b = contestant(run, speedup.reference), contestant(run, speedup.contestant)
        share = next(r.peak_share for r in training.results if r.contestant == a.name)
        yield (
            f"{training.workload}: speed-up {units.times(speedup.compute)} "
            f"(end to end {units.times(speedup.end_to_end)}) of {b.name} "
            f"({b.device}, {_precision(training, b)}) over {a.name} ({a.device}, "
            f"{_threads(run, a)}{_precision(training, a)})"
            + (
                "."
                if share is None
                else f", which ran at {units.percent(share)} of its own measured matmul peak."
            )
        )


def _precision(training: Training, who: Contestant) -> str:
    """Name the precision: the workload's, or the contestant's for float32."""
    return who.precision if training.precision == "fp32" else training.precision


def _comparison_sentences(run: Run) -> Iterator[str]:
    """For each group of workloads, the ratios to the peers, and the lost workloads."""
    first, peers = run.contestants[0].name, peer_names(run)
    if not peers:
        return
    for group, trainings in groups(run):
        found = {t.workload: standing(run, t) for t in trainings}
        eager = geometric_mean([at.over_eager for at in found.values()])
        fastest = geometric_mean([at.over_fastest for at in found.values()])
        behind = [name for name, at in found.items() if at.over_fastest and at.over_fastest < 1]
        yield (
            f"{group}: the speed of {first} is {units.times(eager)} that of PyTorch eager and "
            f"{units.times(fastest)} that of the fastest peer (geometric means over "
            f"{len(found)} workloads); the fastest peer is ahead in "
            f"{', '.join(behind) or 'none of them'}."
        )


def _doubts(run: Run) -> Iterator[str]:
    """Warnings about the reliability of the times."""
    if run.cpu_used_by_others > BUSY:
        yield (
            f"Other programs used {units.percent(run.cpu_used_by_others)} of the processor during "
            "this run: measure again when the machine is idle."
        )
    scattered = [
        f"{t.workload} on {r.contestant}"
        for t in run.training
        for r in t.results
        if r.compute.iqr > SCATTER * r.compute.median
    ]
    if scattered:
        yield (
            f"Steps scatter widely (interquartile range above {SCATTER:.0%} of the median): "
            f"{', '.join(scattered)}. Something else was probably running."
        )


def _claim_sentence(claim: Claim) -> str:
    projections = ", ".join(f"{units.span(p.hours)} on {p.contestant}" for p in claim.projections)
    return (
        f"VGG-16 on {claim.images / 1e6:.2f} M images × {claim.epochs} epochs would take "
        f"{projections} here. The claim: {units.span(claim.claimed_cpu_days * 24)} on "
        f"{claim.claimed_cpu}, {units.span(claim.claimed_gpu_hours)} on a {claim.claimed_gpu} "
        f"of {claim.claimed_gpus} GPUs ({claim.claimed_speedup:.0f}×)."
    )


def _threads(run: Run, who: Contestant) -> str:
    if who.kind != "cpu" or not run.machine.blas:
        return ""
    threads = run.machine.blas[0].threads
    return f"{threads} BLAS thread{'s' if threads != 1 else ''}, "
