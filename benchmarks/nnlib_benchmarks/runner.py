"""One run of the harness, from the question who can take part to the finished record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import nnlib
from nnlib.errors import BackendUnavailableError, OptionError
from nnlib_benchmarks import operations, workloads
from nnlib_benchmarks.claim import EPOCHS, make_claim, project
from nnlib_benchmarks.contestants import MakeTrainee
from nnlib_benchmarks.crossover import crossovers
from nnlib_benchmarks.machine import CpuMeter, describe_machine
from nnlib_benchmarks.peak import matmul_sizes, measure_peak
from nnlib_benchmarks.peers.process import PeerTrainee, describe_peer
from nnlib_benchmarks.peers.registry import check_peers
from nnlib_benchmarks.progress import Progress, SilentProgress
from nnlib_benchmarks.records import (
    SCHEMA,
    VERSION,
    Claim,
    Contestant,
    Missing,
    Operation,
    Run,
    Settings,
    Training,
)
from nnlib_benchmarks.sweep import run_sweep
from nnlib_benchmarks.training import run_training
from nnlib_benchmarks.workloads import OPERATIONS, TRAINING
from nnlib_benchmarks.workloads.mlp import sweep
from nnlib_benchmarks.workloads.ops import cases

AUTO = ("numpy", "cupy")  #: what ``--backends auto`` tries


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes
    ----------
    workloads : sequence of str
        Among `nnlib_benchmarks.workloads.NAMES` and `GROUPS`.
    backends : sequence of str or None
        ``None``: NumPy, and CuPy if it can be used.  Named ones must be usable.
    peers : sequence of str
        Other libraries.
    quick : bool
        Smaller sizes and fewer samples.
    epochs : int
        Of the projection.
    seed : int
        For weights, inputs and the order of examples.
    """

    workloads: Sequence[str] = workloads.DEFAULT
    backends: Sequence[str] | None = None
    peers: Sequence[str] = field(default=())
    quick: bool = False
    epochs: int = EPOCHS
    seed: int = 0


def check(request: Request) -> tuple[list[str], list[Missing]]:
    """Find out who can take part, before anything is measured.

    Returns
    -------
    backends : list of str
        In the order in which they are shown; the first is the reference.
    missing : list of Missing
        Those that ``auto`` left out, with the reason.

    Raises
    ------
    BackendUnavailableError, UnknownBackendError
        If a backend was asked for by name and cannot be used.
    MissingExtraError
        If a peer is not installed.
    OptionError
        If a name or number makes no sense.
    """
    workloads.expand(request.workloads)
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


def run(request: Request, progress: Progress | None = None) -> Run:
    """Measure everything that was asked for.

    Parameters
    ----------
    request : Request
        What to run.
    progress : Progress, optional
        Is told how far it is; silent if not given.

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
    contestants = _describe(names, request, progress)
    training = [
        _train(name, contestants, request, progress)
        for name in workloads.expand(request.workloads)
        if name in TRAINING
    ]
    points = _operations([c for c in contestants if c.kind != "peer"], request, progress)
    return Run(
        schema=SCHEMA,
        version=VERSION,
        created=created,
        duration_s=time.perf_counter() - begin,
        cpu_used_by_others=meter.used_by_others(),
        settings=Settings(
            workloads.expand(request.workloads),
            list(request.backends or ["auto"]),
            list(request.peers),
            request.quick,
            request.epochs,
            request.seed,
        ),
        machine=machine,
        contestants=contestants,
        missing=missing,
        training=training,
        operations=points,
        crossovers=crossovers(points, contestants[0].name),
        claim=_claim(training, contestants, request.epochs),
        failures=failures(training, points),
    )


def _describe(names: Sequence[str], request: Request, progress: Progress) -> list[Contestant]:
    """Describe everybody and measure their matmul peaks."""
    progress.stage("matmul peaks", len(names) + len(request.peers))
    found = []
    for name in names:
        contestant = describe_backend(name)
        sizes = matmul_sizes(contestant.kind, request.quick)
        found.append(replace(contestant, peak=measure_peak(name, sizes)))
        progress.advance()
    for name in request.peers:
        found.append(describe_peer(name, list(matmul_sizes("cpu", request.quick))))
        progress.advance()
    return found


def describe_backend(name: str) -> Contestant:
    """Describe a backend from what it tells about itself.

    Examples
    --------
    >>> describe_backend("numpy").precision
    'fp32'
    """
    info = nnlib.backend_info(name)
    return Contestant(
        name=name,
        kind=info["kind"],
        device=info["name"],
        cores=info["cores"],
        memory_bytes=info["memory_bytes"],
        precision=precision(info["details"]),
        libraries=info["libraries"],
        details=info["details"],
    )


def precision(details: Mapping[str, Any]) -> str:
    """Name the arithmetic of float32 matrix products: TF32 where the backend says it is on.

    Examples
    --------
    >>> precision({"float32_precision": "TF32"})
    'tf32'
    """
    return str(details.get("float32_precision", "FP32")).lower()


def _train(
    name: str, contestants: Sequence[Contestant], request: Request, progress: Progress
) -> Training:
    peers: dict[str, MakeTrainee] = {peer: partial(PeerTrainee, peer) for peer in request.peers}
    workload = TRAINING[name](request.quick, request.seed)
    return run_training(workload, contestants, peers, request.seed, progress)


def _operations(
    contestants: Sequence[Contestant], request: Request, progress: Progress
) -> list[Operation]:
    budget = operations.QUICK_BUDGET if request.quick else operations.BUDGET
    passes = operations.QUICK_PASSES if request.quick else operations.PASSES
    points = []
    if "mlp" in request.workloads:
        steps = list(sweep(request.quick))
        points += run_sweep(steps, contestants, budget, passes, request.seed, progress)
    if OPERATIONS in request.workloads:
        chosen = list(cases(request.quick))
        points += operations.run_operations(
            chosen, contestants, budget, passes, request.seed, progress
        )
    return points


def _claim(
    training: Sequence[Training], contestants: Sequence[Contestant], epochs: int
) -> Claim | None:
    """Project from VGG-16's end-to-end steps, if it was measured."""
    for measured in training:
        if measured.workload == "vgg16":
            kinds = {c.name: c.kind for c in contestants}
            return make_claim(
                [
                    project(
                        r.contestant,
                        kinds[r.contestant],
                        r.end_to_end.median / measured.batch,
                        epochs,
                    )
                    for r in measured.results
                ],
                epochs,
            )
    return None


def failures(training: Sequence[Training], points: Sequence[Operation]) -> list[str]:
    """Every disagreement, in a sentence."""
    found = [f"{t.workload}: {a.message}" for t in training for a in t.agreements if not a.agree]
    for operation, a in operations.disagreements(points):
        found.append(f"{operation.operation} {operation.shape} {operation.direction}: {a.message}")
    return found
