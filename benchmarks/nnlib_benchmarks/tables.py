"""Tables of a run, the same on the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nnlib_benchmarks import units
from nnlib_benchmarks.records import (
    Claim,
    Contestant,
    Projection,
    Run,
    Training,
    TrainingResult,
)

NOTHING = "–"
NO_GPU = "No usable GPU on this machine: not measured"


@dataclass(frozen=True)
class Table:
    """A table with its title and the notes below it; all cells are text.

    The first `words` columns are text, aligned left, the others numbers, aligned right.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    words: int = 1


def contestant(run: Run, name: str) -> Contestant:
    """Find a contestant by name."""
    return next(c for c in run.contestants if c.name == name)


def training_table(training: Training) -> Table:
    """One workload: a row for each quantity, a column for each contestant."""
    quantities: list[tuple[str, Callable[[TrainingResult], str]]] = [
        ("first step", lambda r: units.seconds(r.first_step_s)),
        ("step, batch on the device", lambda r: units.seconds(r.compute.median)),
        ("  its interquartile range", lambda r: units.seconds(r.compute.iqr)),
        ("  by the device's clock", lambda r: units.seconds(r.compute.device_median)),
        ("step, end to end", lambda r: units.seconds(r.end_to_end.median)),
        ("rate", lambda r: units.rate(r.flops)),
        (f"  {training.unit}/s", lambda r: throughput(training, r)),
        ("  of its own matmul peak", lambda r: units.percent(r.peak_share)),
        ("peak memory", lambda r: units.bytes_(r.memory_peak_bytes)),
        ("energy, a step", lambda r: _energy(r)),
        ("to test accuracy", lambda r: _target(r)),
        ("forward / backward / update", lambda r: _breakdown(r)),
        ("speed-up", lambda r: _speedup(training, r, "compute")),
        ("speed-up, end to end", lambda r: _speedup(training, r, "end_to_end")),
        ("speed-up, to accuracy", lambda r: _speedup(training, r, "to_target")),
    ]
    rows = [[label, *(write(r) for r in training.results)] for label, write in quantities]
    rows = [row for row in rows if any(cell != NOTHING for cell in row[1:])]
    notes = [
        f"{training.model}, {training.parameters:,} parameters; {training.data}; batch "
        f"{training.batch}, {training.dtype}, computed in {training.precision}; "
        f"{training.optimizer}; steps: "
        f"{training.warmup_steps} warm-up, {training.compute_steps} with the batch on the device, "
        f"{training.end_to_end_steps} end to end.",
        *(("" if a.agree else "FAILED: ") + a.message + "." for a in training.agreements),
    ]
    columns = ["", *(r.contestant for r in training.results)]
    return Table(f"{training.workload}: {training.title}", columns, rows, notes)


def throughput(training: Training, result: TrainingResult) -> str:
    """Images, tokens or examples a second, batch on the device."""
    if not training.units_per_step:
        return NOTHING
    return units.digits(training.units_per_step / result.compute.median)


def _speedup(training: Training, result: TrainingResult, which: str) -> str:
    if any(a.contestant == result.contestant and not a.agree for a in training.agreements):
        return "DISAGREES"
    for speedup in training.speedups:
        if speedup.contestant == result.contestant:
            return units.times(getattr(speedup, which))
    return NOTHING


def _energy(result: TrainingResult) -> str:
    energy = result.energy
    if energy is None:
        return NOTHING
    return f"{units.digits(energy.joules_per_step)} J ({units.digits(energy.mean_watts)} W)"


def _breakdown(result: TrainingResult) -> str:
    parts = result.breakdown
    if parts is None:
        return NOTHING
    return " / ".join(units.seconds(s) for s in (parts.forward, parts.backward, parts.update))


def _target(result: TrainingResult) -> str:
    target = result.target
    if target is None:
        return NOTHING
    goal = units.percent(target.accuracy)
    if not target.reached:
        best = units.percent(max(target.curve, default=None))
        return f"{goal} not reached in {target.epochs} epochs (best {best})"
    return f"{goal} after {units.seconds(target.seconds)}, {target.epochs} epochs"


def claim_table(run: Run, claim: Claim) -> Table:
    """Compare the projection with the course's claim."""
    total = claim.images * claim.epochs
    cpu_hours = claim.claimed_cpu_days * 24
    rows = [
        ["claimed", claim.claimed_cpu, _images(total, cpu_hours), units.span(cpu_hours), "1×"],
        [
            "claimed",
            f"{claim.claimed_gpu} ({claim.claimed_gpus} GPUs)",
            _images(total, claim.claimed_gpu_hours),
            units.span(claim.claimed_gpu_hours),
            f"{claim.claimed_speedup:.0f}× (“{claim.claimed_range}”)",
        ],
    ]
    base = next((p for p in claim.projections if p.kind == "cpu"), None)
    for p in claim.projections:
        device = contestant(run, p.contestant).device
        ratio = NOTHING if base is None or not _comparable(run, p) else (
            units.times(base.hours / p.hours) if p is not base else "1×"
        )  # fmt: skip
        who = f"{p.contestant} on {device}, {p.workload}"
        rows.append(["measured here", who, _images(total, p.hours), units.span(p.hours), ratio])
    if not any(p.kind == "gpu" for p in claim.projections):
        rows.append(["measured here", NO_GPU, NOTHING, NOTHING, NOTHING])
    millions = f"{claim.images / 1e6:.2f} M"
    title = f"The course's claim: VGG on {millions} images, here × {claim.epochs} epochs"
    columns = ["", "machine", "images/s", "whole training", "speed-up"]
    return Table(title, columns, rows, claim.notes, words=2)


def _comparable(run: Run, p: Projection) -> bool:
    vgg = [t for t in run.training if t.workload == p.workload]
    return not any(a.contestant == p.contestant and not a.agree for t in vgg for a in t.agreements)


def _images(total: int, hours: float) -> str:
    return units.digits(total / (hours * 3600))


def contestants_table(run: Run) -> Table:
    """The contestants: device, precision, libraries, measured peak."""
    rows = []
    for c in run.contestants:
        libraries = ", ".join(f"{k} {v}" for k, v in c.libraries.items())
        peak = f"{units.rate(c.peak.flops)} at n = {c.peak.size}" if c.peak else NOTHING
        memory = units.bytes_(c.memory_bytes)
        rows.append([c.name, c.device, str(c.cores), memory, c.precision, libraries, peak])
    columns = [
        "",
        "device",
        "cores (GPU: SMs)",
        "memory",
        "precision",
        "libraries",
        "own matmul peak",
    ]
    return Table("Who took part", columns, rows, words=len(columns))


def machine_table(run: Run) -> Table:
    """Machine and software of the run."""
    m = run.machine
    blas = "; ".join(
        f"{b.name} {b.version}, {b.threads} threads, {b.architecture} ({b.library})" for b in m.blas
    )
    rows = [
        ["processor", f"{m.cpu}, {m.cores} cores, {m.threads} usable threads"],
        ["GPU", ", ".join(m.gpus) or NO_GPU],
        ["memory", units.bytes_(m.memory_bytes)],
        ["system", m.system],
        ["Python", m.python],
        ["BLAS", blas or "none found"],
        ["nnlib", f"{m.nnlib_version}, commit {m.git_commit or 'unknown (installed package)'}"],
        ["packages", ", ".join(f"{k} {v}" for k, v in m.packages.items())],
        ["environment", ", ".join(f"{k}={v}" for k, v in m.environment.items()) or "nothing set"],
        ["used by others", f"{units.percent(run.cpu_used_by_others)} of the processor"],
        ["run", f"{run.created}, {units.seconds(run.duration_s)}, seed {run.settings.seed}"
                + (", --quick" if run.settings.quick else "")],
    ]  # fmt: skip
    return Table("Machine and software", ["", ""], rows, words=2)
