"""Runs one training workload for all contestants and makes its record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nnlib_benchmarks.contestants import MakeTrainee, Trainee
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.fairness import compare_losses, speedups
from nnlib_benchmarks.field import Field, missing, steps_within
from nnlib_benchmarks.progress import Progress
from nnlib_benchmarks.records import Agreement, Contestant, Missing, Training, TrainingResult
from nnlib_benchmarks.workloads.base import Workload


def run_training(
    workload: Workload,
    contestants: Sequence[Contestant],
    makers: Mapping[str, MakeTrainee],
    seed: int,
    progress: Progress,
    absent: Sequence[Missing] = (),
) -> Training:
    """Train the workload with all contestants, in turns.

    Parameters
    ----------
    workload : Workload
        The workload.
    contestants : sequence of Contestant
        Backends and peers; the first is the reference.
    makers : mapping
        Name → function that makes the trainee of a contestant in a separate process.
    seed : int
        For the initial weights and the order of the samples.
    progress : Progress
        Updated after every turn.
    absent : sequence of Missing
        Contestants left out, with reasons.
    """
    measure = _one_by_one if workload.plan.alone else _together
    m = measure(workload, contestants, Surroundings(makers, seed, progress))
    taking_part = [c for c in contestants if c.name in m.results]
    agreements = compare_all(taking_part, m.losses, workload.precision)
    results = list(m.results.values())
    return Training(
        workload=workload.name,
        title=workload.title,
        data=workload.data_text,
        model=workload.model_text,
        optimizer=workload.optimizer.text,
        parameters=m.parameters,
        batch=workload.plan.batch,
        dtype="float32",
        warmup_steps=workload.plan.warmup,
        compute_steps=m.compute_steps,
        end_to_end_steps=m.end_to_end_steps,
        flops_per_step=float(workload.flops(workload.plan.batch)),
        results=results,
        agreements=agreements,
        speedups=speedups(results, agreements),
        absent=[*absent, *m.absent],
        precision=workload.precision,
        unit=workload.unit,
        units_per_step=workload.units(workload.plan.batch),
    )


class Surroundings(NamedTuple):
    """Arguments of a field other than workload and contestants."""

    makers: Mapping[str, MakeTrainee]
    seed: int
    progress: Progress


@dataclass
class Measured:
    """Measurements by contestant."""

    results: dict[str, TrainingResult]
    losses: dict[str, list[float]]
    compute_steps: int
    end_to_end_steps: int
    parameters: int
    absent: list[Missing]


def _together(
    workload: Workload, contestants: Sequence[Contestant], around: Surroundings
) -> Measured:
    """Train in turns."""
    plan, by_name = workload.plan, {c.name: c for c in contestants}
    with Field(workload, contestants, *around) as field:
        warmups = field.each("warm-up", lambda t: t.warm_up(plan.warmup))
        steps, loading = (steps_within(b, warmups) for b in (plan.compute, plan.end_to_end))
        gpu = any(c.on_gpu for c in contestants)
        chain = steps_per_reading(warmups) if gpu else 1
        computed = field.turns("steps", steps, lambda t, n: t.compute(n, chain), chain)
        loaded = field.turns(
            "steps with loading", loading, lambda t, n: t.end_to_end(n, n if gpu else 1)
        )
        losses = field.each("losses", lambda t: t.losses())
        results = field.each(
            "parts, energy, accuracy",
            lambda t: _finish(workload, by_name[t.name], t, warmups[t.name], losses[t.name]),
        )
        return Measured(results, losses, computed, loaded, field.parameters, field.absent)


def _one_by_one(
    workload: Workload, contestants: Sequence[Contestant], around: Surroundings
) -> Measured:
    """Train one contestant after the other, each as many steps as the first."""
    first, *others = contestants
    found = _together(workload, [first], around)
    for other in others:
        try:
            own = _together(workload, [other], around)
        except PeerError as error:
            found.absent.append(missing(other.name, error))
        else:
            found.results |= own.results
            found.losses |= own.losses
    return found


LEAST_READING = 1e-3  #: seconds of work on a GPU in a sample
MOST_CHAINED = 50  #: steps


def steps_per_reading(warmups: Mapping[str, Sequence[float]]) -> int:
    """Number of steps before a GPU is synchronised, the same for all contestants.

    Training does not synchronise after each step, and in steps of some microseconds
    synchronisation would dominate.

    Examples
    --------
    >>> steps_per_reading({"cupy": [2.0, 1e-4], "torch-cuda": [1.0, 4e-4]})
    10
    >>> steps_per_reading({"cupy": [2.0, 0.1]})
    1
    """
    fastest = min(min(seconds) for seconds in warmups.values())
    return max(1, min(MOST_CHAINED, math.ceil(LEAST_READING / fastest)))


def _finish(
    workload: Workload,
    contestant: Contestant,
    trainee: Trainee,
    warmup_s: list[float],
    losses: list[float],
) -> TrainingResult:
    """Make the single measurements and the record."""
    plan = workload.plan
    parts, energy = trainee.breakdown(plan.breakdown), trainee.energy() if plan.energy else None
    compute = trainee.timing("compute")
    flops = workload.flops(workload.plan.batch) / compute.median
    return TrainingResult(
        contestant=trainee.name,
        build_s=trainee.build_s,
        first_step_s=warmup_s[0],
        warmup_s=warmup_s,
        compute=compute,
        end_to_end=trainee.timing("end_to_end"),
        losses=[_as_float32(loss) for loss in losses],
        memory_before_bytes=trainee.memory_before,
        memory_peak_bytes=trainee.memory_peak,
        flops=flops,
        peak_share=_share(flops, contestant, workload.precision),
        breakdown=parts,
        energy=energy,
        target=trainee.to_target(workload.plan.epochs),
    )


def _as_float32(loss: float) -> float:
    """Return the shortest decimal number that is the same float32, to keep the file small.

    Examples
    --------
    >>> _as_float32(2.2978146076202393)
    2.2978146
    """
    with np.errstate(over="ignore"):
        return float(str(np.float32(loss)))


def _share(flops: float, contestant: Contestant, precision: str) -> float | None:
    """Share of the peak of float32 matrix products."""
    if contestant.peak is None or precision != "fp32":
        return None
    return flops / contestant.peak.flops


def compare_all(
    contestants: Sequence[Contestant],
    losses: Mapping[str, Sequence[float]],
    precision: str = "fp32",
) -> list[Agreement]:
    """Compare the loss curves with that of the first, within the tolerance of a precision.

    In fp32 the tolerance is that of the contestant's own products, which a setting may make TF32.
    """
    first = contestants[0].name
    return [
        compare_losses(
            (first, losses[first]),
            (c.name, losses[c.name]),
            c.precision if precision == "fp32" else precision,
        )
        for c in contestants[1:]
    ]
