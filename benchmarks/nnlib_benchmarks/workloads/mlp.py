"""The course's multi-layer network on its handwritten digits, and a sweep over width and batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnlib import models
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Workload
from nnlib_benchmarks.workloads.digits import flat_digits

SIZES = (64, 300, 10)

PLAN = Plan(
    batch=64,
    warmup=20,
    compute=Budget(seconds=3.0, least=100, most=1000),
    end_to_end=Budget(seconds=1.5, least=100, most=500),
    block=50,
    breakdown=30,
    epochs=30,
)
QUICK_PLAN = Plan(64, 10, Budget(0.6, 60, 200), Budget(0.4, 40, 200), 20, 10, 30)


def workload(quick: bool, seed: int) -> Workload:
    """Make the workload."""
    train, test = flat_digits()
    return Workload(
        name="mlp",
        title="the course's multi-layer network on handwritten digits",
        data_text="UCI digits, 8×8 pixels as 64 features, 1,442 to train and 355 to test",
        model_text="MLP 64-300-10, ReLU",
        layers=layers.mlp(SIZES),
        build=lambda: models.MLP(SIZES, activation="relu"),
        train=train,
        test=test,
        target=0.97,
        optimizer=Optimizer("sgd", 0.1, momentum=0.9),
        plan=QUICK_PLAN if quick else PLAN,
    )


@dataclass(frozen=True)
class SweepPoint:
    """A network and a batch size whose training step is timed to find the crossover."""

    operation: str
    size: int
    unit: str
    sizes: tuple[int, ...]
    batch: int


WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)
QUICK_WIDTHS = (64, 256, 1024)
BATCHES = (8, 32, 128, 512, 2048)
QUICK_BATCHES = (32, 512)
SWEEP_BATCH = 64


def sweep(quick: bool) -> Iterator[SweepPoint]:
    """Points of the sweep: width at batch 64, then batch at 300 hidden units."""
    for width in QUICK_WIDTHS if quick else WIDTHS:
        unit = f"hidden units of 64-w-w-10, batch {SWEEP_BATCH}"
        yield SweepPoint("mlp width", width, unit, (64, width, width, 10), SWEEP_BATCH)
    for batch in QUICK_BATCHES if quick else BATCHES:
        yield SweepPoint("mlp batch", batch, "batch of 64-300-10", SIZES, batch)
