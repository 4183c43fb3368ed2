"""The course's multi-layer network on the handwritten digits."""

from __future__ import annotations

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
