"""What follows from the measurements of several contestants."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnlib_benchmarks.records.measurements import Timing, TrainingResult
from nnlib_benchmarks.records.participants import Missing


@dataclass(frozen=True)
class Agreement:
    """Whether two contestants computed the same thing.

    Attributes
    ----------
    reference, contestant : str
        Who was compared with whom.
    agree : bool
        Whether every difference stayed within ``atol + rtol·|reference|``.
    compared : int
        How many values.
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
    """A training workload and everybody's results.

    Attributes
    ----------
    results : list of TrainingResult
        One for each contestant that took part, the reference first.
    agreements : list of Agreement
        Every other against the reference.
    speedups : list of Speedup
        Over the reference, of those who agree with it.
    absent : list of Missing
        Who did not take part: ``"unsuitable"``, its library cannot express the workload, or
        ``"failed"``.
    precision : str
        ``"fp32"``, ``"tf32"`` or ``"bf16"``: also the end of the workload's name.
    unit : str
        What a step trains on: images, tokens, sequences or examples.
    units_per_step : int
        How many; 0 in files that do not say it.
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
    """One operation at one size: everybody's times.

    Attributes
    ----------
    operation : str
        ``"matmul"``, ``"conv2d"``, ``"relu"``, …; ``"mlp-width"`` in the sweep of whole steps.
    direction : str
        ``"forward"``, ``"forward+backward"`` or ``"training step"``.
    size : int
        What grows along the sweep (see `unit`).
    unit : str
        What `size` counts, in words.
    shape : str
        The shapes, in words.
    bytes : int
        Memory that the operands and the result take, to be set against the caches.
    flops : float or None
        Nominal floating-point operations; ``None`` where memory, not arithmetic, is the limit.
    times : dict
        Contestant → `Timing`.
    agreements : list of Agreement
        Every contestant against the first.
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
    """From which size on a contestant beats the reference.

    Attributes
    ----------
    verdict : str
        ``"from"`` (wins from `size` on), ``"always"`` (at every measured size), ``"never"``.
    size : int or None
        The smallest measured size from which the contestant wins there and at all larger ones.
    estimate : float or None
        Where the two curves cross, interpolated between the neighbouring sizes (log-log).
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
    """A measured VGG-16 step carried over to the training of the published claim.

    Attributes
    ----------
    workload : str
        Which one was measured, with its batch and precision: the contestant's fastest.
    """

    contestant: str
    kind: str
    seconds_per_image: float
    hours: float
    days: float
    workload: str = "vgg16"


@dataclass(frozen=True)
class Claim:
    """The course's claim and this machine's projection, side by side."""

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
