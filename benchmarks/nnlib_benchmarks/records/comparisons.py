"""Records of comparisons between contestants."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnlib_benchmarks.records.measurements import Timing, TrainingResult
from nnlib_benchmarks.records.participants import Missing


@dataclass(frozen=True)
class Agreement:
    """Whether the results of two contestants agree.

    Attributes
    ----------
    reference, contestant : str
        The two contestants.
    agree : bool
        Whether every difference stayed within ``atol + rtol·|reference|``.
    compared : int
        Number of values.
    worst : float
        The largest difference as a multiple of its tolerance (at most 1 when they agree).
    where : int
        Index of the worst value: the step of a loss curve, the element of a result.
    rtol, atol : float
        The stated tolerance.
    message : str
        The finding in one sentence.
    """

    reference: str
    contestant: str
    agree: bool
    compared: int
    worst: float
    where: int
    rtol: float
    atol: float
    message: str


@dataclass(frozen=True)
class Speedup:
    """Reference time divided by contestant time; written only where the two agree."""

    reference: str
    contestant: str
    compute: float
    end_to_end: float
    to_target: float | None


@dataclass(frozen=True)
class Training:
    """A training workload and the results of all contestants.

    Attributes
    ----------
    results : list of TrainingResult
        One for each contestant that took part, the reference first.
    agreements : list of Agreement
        Of every other contestant with the reference.
    speedups : list of Speedup
        Over the reference, of those that agree with it.
    absent : list of Missing
        Contestants that did not take part: ``"unsuitable"``, the library cannot express the
        workload, or ``"failed"``.
    precision : str
        ``"fp32"``, ``"tf32"`` or ``"bf16"``: also the end of the workload's name.
    unit : str
        Unit of the throughput: images, tokens, sequences or examples.
    units_per_step : int
        Their number; 0 in files without it.
    """

    workload: str
    title: str
    data: str
    model: str
    optimizer: str
    parameters: int
    batch: int
    dtype: str
    warmup_steps: int
    compute_steps: int
    end_to_end_steps: int
    flops_per_step: float
    results: list[TrainingResult]
    agreements: list[Agreement]
    speedups: list[Speedup]
    absent: list[Missing] = field(default_factory=list)
    precision: str = "fp32"
    unit: str = "examples"
    units_per_step: int = 0


@dataclass(frozen=True)
class Operation:
    """One operation at one size: the times of all contestants.

    Attributes
    ----------
    operation : str
        ``"matmul"``, ``"conv2d"``, ``"relu"``, …; ``"mlp-width"`` in the sweep of whole steps.
    direction : str
        ``"forward"``, ``"forward+backward"`` or ``"training step"``.
    size : int
        The varied size (see `unit`).
    unit : str
        Unit of `size`, in words.
    shape : str
        The shapes, in words.
    bytes : int
        Memory of the operands and the result, to compare with the caches.
    flops : float or None
        Nominal floating-point operations; ``None`` for memory-bound operations.
    times : dict
        Contestant → `Timing`.
    agreements : list of Agreement
        Of every contestant with the first.
    """

    operation: str
    direction: str
    size: int
    unit: str
    shape: str
    bytes: int
    flops: float | None
    times: dict[str, Timing]
    agreements: list[Agreement]


@dataclass(frozen=True)
class Crossover:
    """The size from which on a contestant is faster than the reference.

    Attributes
    ----------
    verdict : str
        ``"from"`` (faster from `size` on), ``"always"`` (at every measured size), ``"never"``.
    size : int or None
        The smallest measured size at and above which the contestant is faster.
    estimate : float or None
        Crossing of the two curves, interpolated between the neighbouring sizes (log-log).
    """

    operation: str
    direction: str
    unit: str
    reference: str
    contestant: str
    verdict: str
    size: int | None
    estimate: float | None


@dataclass(frozen=True)
class Projection:
    """A projection from a measured VGG-16 step to the training of the published claim.

    Attributes
    ----------
    workload : str
        The contestant's fastest, with its batch and precision.
    """

    contestant: str
    kind: str
    seconds_per_image: float
    hours: float
    days: float
    workload: str = "vgg16"


@dataclass(frozen=True)
class Claim:
    """The course's claim and this machine's projection."""

    images: int
    epochs: int
    claimed_cpu: str
    claimed_cpu_days: float
    claimed_gpu: str
    claimed_gpu_hours: float
    claimed_gpus: int
    claimed_speedup: float
    claimed_range: str
    projections: list[Projection]
    notes: list[str]
