"""Times whole training steps over width, batch and depth, to find crossovers and cliffs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import partial

from nnlib_benchmarks.contestants import MakeTrainee
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.field import Field, steps_within
from nnlib_benchmarks.peers.process import PeerProcess, PeerTrainee
from nnlib_benchmarks.progress import Progress, SilentProgress
from nnlib_benchmarks.records import Contestant, Missing, Operation
from nnlib_benchmarks.training import compare_all
from nnlib_benchmarks.workloads.scaling import SweepPoint


def run_sweep(
    points: Sequence[SweepPoint],
    contestants: Sequence[Contestant],
    processes: Collection[str],
    seed: int,
    progress: Progress,
) -> tuple[list[Operation], list[tuple[str, Missing]]]:
    """Measure every point for all contestants, in turns.

    Parameters
    ----------
    points : sequence of SweepPoint
        The networks.
    contestants : sequence of Contestant
        The first is the reference of the agreement.
    processes : collection of str
        Names of those that run in a separate process, one for all points.
    seed : int
        For weights and inputs.
    progress : Progress
        Updated after every point.

    Returns
    -------
    operations : list of Operation
        One for each point.
    failed : list of (str, Missing)
        Points and their failed contestants.
    """
    progress.stage("training steps over width, batch and depth", len(points))
    operations, failed = [], []
    with ExitStack() as stack:
        makers: dict[str, MakeTrainee] = {}
        for name in processes:
            process = PeerProcess(name)
            stack.callback(process.close)
            makers[name] = partial(PeerTrainee, name, process=process)
        for point in points:
            chosen = [c for c in contestants if point.takes_part(c.name)]
            where = f"{point.operation} {point.size}"
            try:
                operation, absent = _run_point(point, chosen, makers, seed)
            except PeerError as error:  # of the reference
                failed.append((where, Missing(chosen[0].name, "failed", str(error), remedy="")))
            else:
                operations.append(operation)
                failed += [(where, missing) for missing in absent]
            progress.advance()
    return operations, failed


def _run_point(
    point: SweepPoint,
    contestants: Sequence[Contestant],
    makers: dict[str, MakeTrainee],
    seed: int,
) -> tuple[Operation, list[Missing]]:
    workload = point.workload(len(contestants), seed)
    with Field(workload, contestants, makers, seed, SilentProgress()) as field:
        warmups = field.each("warm-up", lambda t: t.warm_up(workload.plan.warmup))
        steps = steps_within(workload.plan.compute, warmups)
        field.turns("steps", steps, lambda t, n: t.compute(n))
        losses = field.each("losses", lambda t: t.losses())
        times = {name: t.timing("compute") for name, t in field.trainees.items()}
        return Operation(
            operation=point.operation,
            direction="training step",
            size=point.size,
            unit=point.unit,
            shape=point.shape,
            bytes=point.bytes,
            flops=float(workload.flops(point.batch)),
            times=times,
            agreements=compare_all([c for c in contestants if c.name in losses], losses),
        ), field.absent
