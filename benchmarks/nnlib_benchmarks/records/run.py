"""The record of a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnlib_benchmarks.records.comparisons import Claim, Crossover, Operation, Training
from nnlib_benchmarks.records.participants import Contestant, Machine, Missing


@dataclass(frozen=True)
class Settings:
    """The settings of a run."""

    workloads: list[str]
    backends: list[str]
    peers: list[str]
    quick: bool
    epochs: int
    seed: int
    eager: bool = False
    precisions: list[str] = field(default_factory=lambda: ["fp32"])


@dataclass(frozen=True)
class Run:
    """One run of ``nnlib bench``."""

    schema: str
    version: int
    created: str  # ISO 8601, UTC
    duration_s: float
    cpu_used_by_others: float  # share of the processor, 0 to 1, over the whole run
    settings: Settings
    machine: Machine
    contestants: list[Contestant]
    missing: list[Missing]
    training: list[Training]
    operations: list[Operation]
    crossovers: list[Crossover]
    claim: Claim | None
    failures: list[str] = field(default_factory=list)
