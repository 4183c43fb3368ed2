"""Runs one training workload for everybody and writes down what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnlib_benchmarks.contestants import MakeTrainee, Trainee
from nnlib_benchmarks.fairness import compare_losses, speedups
from nnlib_benchmarks.field import Field, steps_within
from nnlib_benchmarks.progress import Progress
from nnlib_benchmarks.records import Agreement, Contestant, Training, TrainingResult
from nnlib_benchmarks.workloads.base import Workload


def run_training(
    workload: Workload,
    contestants: Sequence[Contestant],
    makers: Mapping[str, MakeTrainee],
    seed: int,
    progress: Progress,
) -> Training:
    """Let everybody train the workload, taking turns.

    Parameters
    ----------
    workload : Workload
        What to train.
    contestants : sequence of Contestant
        Backends and peers; the first is the reference.
    makers : mapping
        Name → what makes the part of a contestant in a process of its own.
    seed : int
        For the initial weights and the order of the examples.
    progress : Progress
        Is told of every turn.
    """
    with Field(workload, contestants, makers, seed, progress) as field:
        return _measure(workload, contestants, field)


def _measure(workload: Workload, contestants: Sequence[Contestant], field: Field) -> Training:
    plan = workload.plan
    warmups = field.each("warm-up", lambda t: t.warm_up(plan.warmup))
    steps, loading = (steps_within(b, warmups) for b in (plan.compute, plan.end_to_end))
    compute_steps = field.turns("steps", steps, lambda t, n: t.compute(n))
    end_to_end_steps = field.turns("steps with loading", loading, lambda t, n: t.end_to_end(n))
    losses = field.each("losses", lambda t: t.losses())
    by_name = {c.name: c for c in contestants}

    def finish(trainee: Trainee) -> TrainingResult:
        warmup_s = warmups[trainee.name]
        return _finish(workload, by_name[trainee.name], trainee, warmup_s, losses[trainee.name])

    measured = field.each("parts, energy, accuracy", finish)
    results = list(measured.values())
    taking_part = [by_name[name] for name in measured]
    agreements = compare_all(taking_part, losses)
    return Training(
        workload=workload.name,
        title=workload.title,
        data=workload.data_text,
        model=workload.model_text,
        optimizer=workload.optimizer.text,
        parameters=field.parameters,
        batch=plan.batch,
        dtype="float32",
        warmup_steps=plan.warmup,
        compute_steps=compute_steps,
        end_to_end_steps=end_to_end_steps,
        flops_per_step=float(workload.flops(plan.batch)),
        results=results,
        agreements=agreements,
        speedups=speedups(results, agreements),
        absent=field.absent,
    )


def _finish(
    workload: Workload,
    contestant: Contestant,
    trainee: Trainee,
    warmup_s: list[float],
    losses: list[float],
) -> TrainingResult:
    """Measure what is measured once, and write everything down."""
    parts, energy = trainee.breakdown(workload.plan.breakdown), trainee.energy()
    compute = trainee.timing("compute")
    flops = workload.flops(workload.plan.batch) / compute.median
    return TrainingResult(
        contestant=trainee.name,
        build_s=trainee.build_s,
        first_step_s=warmup_s[0],
        warmup_s=warmup_s,
        compute=compute,
        end_to_end=trainee.timing("end_to_end"),
        losses=losses,
        memory_before_bytes=trainee.memory_before,
        memory_peak_bytes=trainee.memory_peak,
        flops=flops,
        peak_share=flops / contestant.peak.flops if contestant.peak else None,
        breakdown=parts,
        energy=energy,
        target=trainee.to_target(workload.plan.epochs),
    )


def compare_all(
    contestants: Sequence[Contestant], losses: Mapping[str, Sequence[float]]
) -> list[Agreement]:
    """Hold everybody's loss curve against that of the first."""
    first = contestants[0].name
    return [
        compare_losses((first, losses[first]), (c.name, losses[c.name]), c.precision)
        for c in contestants[1:]
    ]
