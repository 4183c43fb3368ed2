"""LeNet-5 (LeCun et al., 1998) on the enlarged digits of nnlib."""

from __future__ import annotations

from nnlib import models
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Workload
from nnlib_benchmarks.workloads.digits import large_digits
from nnlib_benchmarks.workloads.layers import Layer

PLAN = Plan(
    batch=32,
    warmup=10,
    compute=Budget(seconds=8.0, least=60, most=500),
    end_to_end=Budget(seconds=4.0, least=40, most=300),
    block=25,
    breakdown=20,
    epochs=20,
)
QUICK_PLAN = Plan(32, 5, Budget(1.5, 30, 100), Budget(0.7, 20, 100), 10, 5, 8)


def workload(quick: bool, seed: int) -> Workload:
    """Make the workload."""
    train, test = large_digits()
    return Workload(
        name="lenet",
        title="LeNet-5 on handwritten digits",
        data_text="UCI digits, 8×8 enlarged to 28×28 (each pixel 3×3, margin 2), 1,442 to train "
        "and 355 to test",
        model_text="LeNet-5, tanh, mean pooling",
        layers=lenet_layers(),
        build=lambda: models.LeNet5(),
        train=train,
        test=test,
        target=0.97,
        optimizer=Optimizer("sgd", 0.05, momentum=0.9),
        plan=QUICK_PLAN if quick else PLAN,
    )


def lenet_layers() -> list[Layer]:
    """Describe LeNet-5."""
    tanh, pool = layers.activation("tanh"), layers.pool("avgpool")
    return [
        layers.conv(1, 6, 5, padding=2),
        tanh,
        pool,
        layers.conv(6, 16, 5),
        tanh,
        pool,
        layers.FLATTEN,
        *layers.mlp((400, 120, 84, 10), "tanh"),
    ]
