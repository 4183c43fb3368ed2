"""One run of the harness, from the check of backends to the finished record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import nnlib
from nnlib.errors import BackendUnavailableError, OptionError
from nnlib_benchmarks import operations, workloads
from nnlib_benchmarks.claim import EPOCHS, claim_of
from nnlib_benchmarks.contestants import EAGER, MakeTrainee, describe_backend, is_eager
from nnlib_benchmarks.crossover import crossovers
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.machine import CpuMeter, describe_machine
from nnlib_benchmarks.peak import matmul_sizes, measure_peak
from nnlib_benchmarks.peers.process import Lasting, PeerTrainee, describe_peer
from nnlib_benchmarks.peers.registry import MODULES, check_peers
from nnlib_benchmarks.peers.server import on_gpu
from nnlib_benchmarks.progress import Progress, SilentProgress
from nnlib_benchmarks.records import (
    SCHEMA,
    VERSION,
    Contestant,
    Missing,
    Operation,
    Run,
    Settings,
    Training,
)
from nnlib_benchmarks.sweep import run_sweep
from nnlib_benchmarks.training import run_training
from nnlib_benchmarks.workloads import OPERATIONS, SCALING
from nnlib_benchmarks.workloads.ops import cases
from nnlib_benchmarks.workloads.scaling import crossover_points, scaling_points

AUTO = ("numpy", "cupy")  #: backends of ``--backends auto``


@dataclass(frozen=True)
class Request:
    """The options of a run.

    Attributes
    ----------
    workloads : sequence of str
        Among `nnlib_benchmarks.workloads.NAMES` and `GROUPS`.
    backends : sequence of str or None
        ``None``: NumPy, and CuPy if it works.  Named ones must work.
    peers : sequence of str
        Other libraries.  With peers the NumPy backend, too, runs in a separate process.
    eager : bool
        Whether each backend also takes part without `nnlib.compile`.
    quick : bool
        Smaller sizes and fewer samples.
    epochs : int
        Of the projection.
    seed : int
        For weights, inputs and the order of samples.
    precisions : sequence of str
        Of the training workloads without one in their names.
    """

    workloads: Sequence[str] = workloads.DEFAULT
    backends: Sequence[str] | None = None
    peers: Sequence[str] = field(default=())
    eager: bool = False
    quick: bool = False
    epochs: int = EPOCHS
    seed: int = 0
    precisions: Sequence[str] = ("fp32",)

    @property
    def names(self) -> list[str]:
        """Names of the workloads, with their precisions."""
        return workloads.expand(self.workloads, self.precisions)


def check(request: Request) -> tuple[list[str], list[Missing]]:
    """Check before measuring which contestants can take part.

    Returns
    -------
    backends : list of str
        In the order of the tables; the first is the reference.
    missing : list of Missing
        Backends left out by ``auto``, with the reason.

    Raises
    ------
    BackendUnavailableError, UnknownBackendError
        If a backend is requested by name and does not work.
    MissingExtraError
        If a peer is not installed.
    OptionError
        If a name or number is invalid.
    """
    request.names  # noqa: B018 - raises for an unknown name
    check_peers(request.peers)
    if request.epochs < 1:
        raise OptionError(f"epochs must be at least 1. Received: {request.epochs}")
    if not request.workloads:
        raise OptionError(f"workloads must name some of {workloads.NAMES}. Received: none")
    missing = []
    names = list(dict.fromkeys(request.backends or AUTO))
    for name in list(names):
        try:
            nnlib.backend_info(name)
        except BackendUnavailableError as error:
            if request.backends is not None:
                raise
            names.remove(name)
            missing.append(Missing(name, error.reason, error.detail, error.remedy))
    return names, missing


def run(
    request: Request,
    progress: Progress | None = None,
    keep: Callable[[Run], object] = lambda run: None,
) -> Run:
    """Measure everything in a request.

    Parameters
    ----------
    request : Request
        The options.
    progress : Progress, optional
        Shows progress; silent if not given.
    keep : callable
        Called with the run so far after every training workload, so that an aborted run keeps its
        measurements.

    Raises
    ------
    See `check`.
    """
    progress = progress or SilentProgress()
    names, missing = check(request)
    meter = CpuMeter()
    created, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    machine = describe_machine(
        [i["name"] for i in map(nnlib.backend_info, names) if i["kind"] == "gpu"]
    )
    contestants, broken = _describe(names, request, progress)
    rivals = [c.name for c in contestants[1:] if c.kind != "peer" and not is_eager(c.name)]
    by_name = {c.name: c for c in contestants}

    def so_far(training: list[Training], points: list[Operation], failed: list[str]) -> Run:
        return Run(
            schema=SCHEMA,
            version=VERSION,
            created=created,
            duration_s=time.perf_counter() - begin,
            cpu_used_by_others=meter.used_by_others(),
            settings=_settings(request),
            machine=machine,
            contestants=contestants,
            missing=missing + broken,
            training=training,
            operations=points,
            crossovers=crossovers(points, contestants[0].name, rivals),
            claim=claim_of(training, by_name, request.epochs),
            failures=[f"{m.name}: {m.detail}" for m in broken]
            + failures(training, points)
            + failed,
        )

    training, failed = [], []
    for measured in _train(contestants, request, progress):
        if isinstance(measured, str):
            failed.append(measured)
        else:
            training.append(measured)
        keep(so_far(training, [], failed))
    points, more_failed = _operations(contestants, request, progress)
    return so_far(training, points, failed + more_failed)


def _settings(request: Request) -> Settings:
    return Settings(
        request.names,
        list(request.backends or ["auto"]),
        list(request.peers),
        request.quick,
        request.epochs,
        request.seed,
        request.eager,
        list(request.precisions),
    )


def _describe(
    names: Sequence[str], request: Request, progress: Progress
) -> tuple[list[Contestant], list[Missing]]:
    """Describe all contestants and measure their matmul peaks; list peers that do not work."""
    progress.stage("matmul peaks", len(names) + len(request.peers))
    found, missing = [], []
    for name in names:
        found += _describe_twins(name, request)
        progress.advance()
    for name in request.peers:
        try:
            kind = "gpu" if on_gpu(name) else "cpu"
            found.append(describe_peer(name, list(matmul_sizes(kind, request.quick))))
        except PeerError as error:
            missing.append(Missing(name, "failed", str(error), remedy=""))
        progress.advance()
    return found, missing


def _describe_twins(name: str, request: Request) -> list[Contestant]:
    """Describe a backend, compiled and on request eager; their matrix products are the same."""
    first = describe_backend(name)
    sizes = matmul_sizes(first.kind, request.quick)
    if _has_process(name, request):
        first = describe_peer(name, list(sizes))
    else:
        first = replace(first, peak=measure_peak(name, sizes))
    twins = [name + EAGER] if request.eager else []
    return [first, *(replace(describe_backend(twin), peak=first.peak) for twin in twins)]


def _train(
    contestants: Sequence[Contestant], request: Request, progress: Progress
) -> Iterator[Training | str]:
    """Run every training workload; return failures as sentences."""
    gpu = any(c.on_gpu for c in contestants)
    with ExitStack() as stack:
        makers: dict[str, MakeTrainee] = {
            c.name: stack.enter_context(Lasting(c.name))
            if c.on_gpu
            else partial(PeerTrainee, c.name)
            for c in contestants
            if _has_process(c.name, request)
        }
        for name in request.names:
            workload = workloads.make_workload(name, request.quick, request.seed)
            if workload is None:
                continue
            there = [c for c in contestants if not gpu or workload.takes_part(c.on_gpu)]
            absent = [
                Missing(c.name, "unsuitable", "left to the GPU", remedy="")
                for c in contestants
                if c not in there
            ]
            try:
                yield run_training(workload, there, makers, request.seed, progress, absent)
            except PeerError as error:  # of the reference: other workloads are kept
                yield f"{name}: {error}"


def _has_process(name: str, request: Request) -> bool:
    """Whether a contestant is measured in a separate process."""
    return bool(request.peers) and name in MODULES


def _operations(
    contestants: Sequence[Contestant], request: Request, progress: Progress
) -> tuple[list[Operation], list[str]]:
    """Measure sweeps and single operations; return failures as sentences."""
    chosen = request.names
    compiled = [c for c in contestants if c.kind != "peer" and not is_eager(c.name)]
    points: list[Operation] = []
    failed: list[tuple[str, Missing]] = []
    if SCALING in chosen or "mlp" in chosen:
        everybody = SCALING in chosen
        sizes = scaling_points(request.quick) if everybody else crossover_points(request.quick)
        who = list(contestants) if everybody else compiled
        processes = [c.name for c in who if _has_process(c.name, request)]
        points, failed = run_sweep(list(sizes), who, processes, request.seed, progress)
    if OPERATIONS in chosen:
        budget = operations.QUICK_BUDGET if request.quick else operations.BUDGET
        passes = operations.QUICK_PASSES if request.quick else operations.PASSES
        points += operations.run_operations(
            list(cases(request.quick)), compiled, budget, passes, request.seed, progress
        )
    return points, [f"{where}: {missing.detail}" for where, missing in failed]


def failures(training: Sequence[Training], points: Sequence[Operation]) -> list[str]:
    """Failures in sentences: disagreements, and failed peers."""
    found = [f"{t.workload}: {a.message}" for t in training for a in t.agreements if not a.agree]
    found += [
        f"{t.workload}: {m.detail}" for t in training for m in t.absent if m.reason == "failed"
    ]
    for operation, a in operations.disagreements(points):
        found.append(f"{operation.operation} {operation.shape} {operation.direction}: {a.message}")
    return found
