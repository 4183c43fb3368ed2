"""Runs one training workload for everybody and writes down what came out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence

from nnlib_benchmarks.contestants import (
    BackendContestant,
    MakeTrainee,
    Trainee,
    initial_weights,
)
from nnlib_benchmarks.fairness import compare_losses, speedups
from nnlib_benchmarks.progress import Progress
from nnlib_benchmarks.records import (
    Contestant,
    Training,
    TrainingResult,
)
from nnlib_benchmarks.timing import affordable, interleave
from nnlib_benchmarks.workloads.base import Budget, Workload

SETTLE = 0.15
"""Seconds between turns: OpenBLAS's threads spin on after their last product and slow down whoever
comes next.  PyTorch's LeNet step took 6 ms without this pause, 3 ms with it."""


def run_training(
    workload: Workload,
    contestants: Sequence[Contestant],
    peers: Mapping[str, MakeTrainee],
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
    peers : mapping
        Name of a peer → what makes its part.
    seed : int
        For the initial weights and the order of the examples.
    progress : Progress
        Is told of every round.
    """
    trainees: list[Trainee] = []
    try:
        parameters = _enter(trainees, workload, contestants, peers, seed)
        return _measure(workload, contestants, trainees, parameters, progress)
    finally:
        for trainee in trainees:
            trainee.close()
        gc.collect()


def _enter(
    trainees: list[Trainee],
    workload: Workload,
    contestants: Sequence[Contestant],
    peers: Mapping[str, MakeTrainee],
    seed: int,
) -> int:
    """Make everybody's model from the same weights; return their number of parameters.

    The weights live no longer than this call: VGG-16's take half a gigabyte.
    """
    model, weights, build_s = initial_weights(workload, seed)
    for c in contestants:
        if c.kind == "peer":
            trainees.append(peers[c.name](workload, weights, seed))
        else:
            made = (model, build_s) if c.name == "numpy" else None
            trainees.append(BackendContestant(c.name, workload, weights, seed, made))
    return sum(p.size for p in model.parameters())


def _measure(
    workload: Workload,
    contestants: Sequence[Contestant],
    trainees: Sequence[Trainee],
    parameters: int,
    progress: Progress,
) -> Training:
    plan = workload.plan
    progress.stage(f"{workload.name}: warm-up", len(trainees))
    warmups = {}
    for trainee in trainees:
        warmups[trainee.name] = trainee.warm_up(plan.warmup)
        progress.advance()
    round_s = sum(min(seconds) for seconds in warmups.values())
    take = _Turns(workload.name, plan.block, round_s, trainees, progress)
    compute_steps = take("steps", plan.compute, lambda t, n: t.compute(n))
    end_to_end_steps = take("steps with loading", plan.end_to_end, lambda t, n: t.end_to_end(n))
    losses = {t.name: t.losses() for t in trainees}

    progress.stage(f"{workload.name}: parts, energy, accuracy", len(trainees))
    results = []
    for contestant, trainee in zip(contestants, trainees, strict=True):
        _settle(trainees)
        parts, energy = trainee.breakdown(plan.breakdown), trainee.energy()
        compute, end_to_end = trainee.timings()
        flops = workload.flops(plan.batch) / compute.median
        results.append(
            TrainingResult(
                contestant=trainee.name,
                build_s=trainee.build_s,
                first_step_s=warmups[trainee.name][0],
                warmup_s=warmups[trainee.name],
                compute=compute,
                end_to_end=end_to_end,
                losses=losses[trainee.name],
                memory_before_bytes=trainee.memory_before,
                memory_peak_bytes=trainee.memory_peak,
                flops=flops,
                peak_share=flops / contestant.peak.flops if contestant.peak else None,
                breakdown=parts,
                energy=energy,
                target=trainee.to_target(plan.epochs),
            )
        )
        progress.advance()
    agreements = [
        compare_losses(
            (contestants[0].name, losses[contestants[0].name]),
            (c.name, losses[c.name]),
            c.precision,
        )
        for c in contestants[1:]
    ]
    return Training(
        workload=workload.name,
        title=workload.title,
        data=workload.data_text,
        model=workload.model_text,
        optimizer=workload.optimizer.text,
        parameters=parameters,
        batch=plan.batch,
        dtype="float32",
        warmup_steps=plan.warmup,
        compute_steps=compute_steps,
        end_to_end_steps=end_to_end_steps,
        flops_per_step=float(workload.flops(plan.batch)),
        results=results,
        agreements=agreements,
        speedups=speedups(results, agreements),
    )


def _settle(trainees: Sequence[Trainee]) -> None:
    if len(trainees) > 1:
        time.sleep(SETTLE)


class _Turns:
    """Decides how many steps fit into a budget – the same for everybody – and gives out turns."""

    def __init__(
        self,
        name: str,
        block: int,
        round_s: float,
        trainees: Sequence[Trainee],
        progress: Progress,
    ) -> None:
        self._name, self._block, self._round_s = name, block, round_s
        self._trainees, self._progress = trainees, progress

    def __call__(self, what: str, budget: Budget, run: Callable[[Trainee, int], None]) -> int:
        """Run the steps; return how many each contestant did."""
        steps = affordable(self._round_s, budget.seconds, budget.least, budget.most)
        block = min(self._block, steps)
        rounds = -(-steps // block)
        self._progress.stage(f"{self._name}: {what}", rounds * len(self._trainees))
        for trainee in interleave(self._trainees, rounds):
            _settle(self._trainees)
            run(trainee, block)
            self._progress.advance()
        return rounds * block
