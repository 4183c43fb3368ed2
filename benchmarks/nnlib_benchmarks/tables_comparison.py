"""Tables of nnlib and other libraries: step times with ratios, memory, rates, scaling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from nnlib_benchmarks import units
from nnlib_benchmarks.cliffs import curve, largest_cliff, seconds_per_layer
from nnlib_benchmarks.comparison import (
    disagrees,
    geometric_mean,
    groups,
    peer_names,
    result_of,
    standing,
)
from nnlib_benchmarks.records import Run, Training, TrainingResult
from nnlib_benchmarks.tables import NOTHING, Table, throughput
from nnlib_benchmarks.workloads import SCALING

DEPTH = "mlp depth"


def comparison_tables(run: Run) -> list[Table]:
    """Tables of the comparison with peers, if any, and of scaling."""
    found: list[Table] = []
    if peer_names(run) and run.training:
        found = [step_table(run, name, chosen) for name, chosen in groups(run)]
        found += [throughput_table(run)] if any(t.units_per_step for t in run.training) else []
        found += [memory_table(run), share_table(run)]
    if SCALING in run.settings.workloads:
        found.append(scaling_table(run))
    return found


def step_table(run: Run, group: str, trainings: Sequence[Training]) -> Table:
    """Step times of all, and ratios of PyTorch eager and of the fastest peer to the first."""
    names = [c.name for c in run.contestants]
    first = names[0]
    standings = [standing(run, training) for training in trainings]
    if any(training.results[0].contestant != first for training in trainings):
        first = "the first in the row"
    rows = [
        [
            training.workload,
            training.precision,
            *(_cell(training, name, _milliseconds) for name in names),
            units.times(at.over_eager),
            NOTHING if at.fastest is None else f"{units.times(at.over_fastest)} {at.fastest}",
        ]
        for training, at in zip(trainings, standings, strict=True)
    ]
    means = (
        geometric_mean([at.over_eager for at in standings]),
        geometric_mean([at.over_fastest for at in standings]),
    )
    rows.append(["geometric mean", "", *([""] * len(names)), *map(units.times, means)])
    notes = [
        "Milliseconds of a training step, batch in memory: median ± half the interquartile range, "
        "which is the scatter of the harness's own readings.",
        f"Ratios: the other's median over that of {first}; above 1 {first} is faster. They are "
        "over peers on its own device.",
        machine_line(run),
        *absences(trainings),
    ]
    columns = ["", "precision", *names, "over torch", "over the fastest peer"]
    return Table(f"Step time in ms: {group}", columns, rows, notes, words=2)


def throughput_table(run: Run) -> Table:
    """Images, tokens, sequences or examples a second, batch in memory."""
    names = [c.name for c in run.contestants]
    rows = [
        [
            t.workload,
            t.precision,
            f"{t.unit}/s",
            *(_cell(t, name, partial(throughput, t)) for name in names),
        ]
        for t in run.training
    ]
    return Table("Throughput of a training step", ["", "precision", "", *names], rows, words=3)


def memory_table(run: Run) -> Table:
    """Peak memory of each contestant's training step."""
    notes = [
        "Most resident memory of the contestant's own process during the counted steps, libraries "
        "included; in brackets, how much more than before the task was read. On a GPU what the "
        "library has taken from it; JAX does not tell its peak of one task.",
    ]
    return _simple_table(run, "Peak memory of a training step", _memory, notes)


def share_table(run: Run) -> Table:
    """Each contestant's rate, as a share of the best matrix product on the same processor."""
    best = max(
        (c for c in run.contestants if c.peak),
        key=lambda c: c.peak.flops if c.peak else 0.0,
        default=None,
    )
    if any(c.on_gpu for c in run.contestants) or best is None or best.peak is None:
        return _simple_table(run, "Rate of a training step", lambda r: units.rate(r.flops), [])
    top = best.peak.flops
    return _simple_table(
        run,
        f"Share of this machine's best matmul rate ({units.rate(top)}, measured with {best.name})",
        lambda r: units.percent(r.flops / top),
        ["Nominal operations; an algorithm that needs fewer may exceed 100 %."],
    )


def scaling_table(run: Run) -> Table:
    """Largest cliffs of step times, and the cost of one more layer."""
    sweeps = dict.fromkeys(p.operation for p in run.operations if p.direction == "training step")
    names = [c.name for c in run.contestants]
    rows = []
    for sweep in sweeps:
        cliffs = [largest_cliff(*curve(run.operations, sweep, name)) for name in names]
        cells = [f"{units.times(c.ratio)} at {c.size}" if c else NOTHING for c in cliffs]
        rows.append([f"largest cliff: {sweep}", *cells])
    if DEPTH in sweeps:
        costs = [seconds_per_layer(*curve(run.operations, DEPTH, name)) for name in names]
        rows.append(["one more layer of Linear(8, 8) and tanh", *map(units.seconds, costs)])
    notes = [
        "A cliff is a step time over the one interpolated (log-log) between the neighbouring "
        "sizes; 1 is a smooth curve. The cost of a layer is the slope between the two deepest "
        "networks: forward, backward and update.",
    ]
    return Table("Scaling of a training step", ["", *names], rows, notes)


def machine_line(run: Run) -> str:
    """Describe the machine in one line."""
    m = run.machine
    libraries = {k: v for c in run.contestants for k, v in c.libraries.items()}
    return (
        f"{m.cpu}, {m.cores} cores, {m.threads} threads, {units.bytes_(m.memory_bytes)}; other "
        f"programs used {units.percent(run.cpu_used_by_others)} of the processor; {m.system}; "
        f"{m.python}; nnlib {m.nnlib_version}, "
        + ", ".join(f"{k} {v}" for k, v in libraries.items())
        + "."
    )


def absences(trainings: Sequence[Training]) -> list[str]:
    """List contestants that did not take part, and the workloads; one line for each reason."""
    where: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for training in trainings:
        for missing in training.absent:
            where[missing.name, missing.reason, missing.detail].append(training.workload)
    return [
        f"{name} {'failed' if reason == 'failed' else 'takes no part'} in "
        f"{', '.join(workloads)}: {detail}."
        for (name, reason, detail), workloads in where.items()
    ]


def _simple_table(
    run: Run, title: str, write: Callable[[TrainingResult], str], notes: list[str]
) -> Table:
    names = [c.name for c in run.contestants]
    rows = [[t.workload, *(_cell(t, name, write) for name in names)] for t in run.training]
    return Table(title, ["", *names], rows, notes)


def _cell(training: Training, name: str, write: Callable[[TrainingResult], str]) -> str:
    result = result_of(training, name)
    if result is None:
        return NOTHING
    return "DISAGREES" if disagrees(training, name) else write(result)


def _milliseconds(result: TrainingResult) -> str:
    t = result.compute
    return f"{units.digits(t.median * 1e3)} ±{50 * t.iqr / t.median:.0f} %"


def _memory(result: TrainingResult) -> str:
    peak, before = result.memory_peak_bytes, result.memory_before_bytes
    if peak is None or before is None:
        return units.bytes_(peak)
    return f"{units.bytes_(peak)} (+{units.bytes_(max(0, peak - before))})"
