"""LeNet-5 (LeCun et al., 1998) on the digits that ship with nnlib, enlarged."""

from __future__ import annotations

from typing import Any

from nnlib import models
from nnlib_benchmarks import flops
from nnlib_benchmarks.workloads.base import Budget, Plan, Workload
from nnlib_benchmarks.workloads.digits import large_digits

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
        learning_rate=0.05,
        momentum=0.9,
        flops=lambda batch: flops.training_step(lenet_flops(batch)),
        plan=QUICK_PLAN if quick else PLAN,
    )


def lenet_layers() -> list[dict[str, Any]]:
    """Describe LeNet-5 for the peers."""
    first: dict[str, Any] = {"kind": "conv", "padding": 2}
    tanh, linear = {"kind": "tanh"}, {"kind": "linear"}
    pool = {"kind": "avgpool", "size": 2}
    return [
        first,
        tanh,
        pool,
        {"kind": "conv"},
        tanh,
        pool,
        {"kind": "flatten"},
        linear,
        tanh,
        linear,
        tanh,
        linear,
    ]


def lenet_flops(batch: int) -> list[int]:
    """Forward operations of each layer.

    Examples
    --------
    >>> sum(lenet_flops(1)) // 2  # multiply-adds
    416520
    """
    return [
        flops.conv(batch, (28, 28), (1, 6), (5, 5)),
        flops.conv(batch, (10, 10), (6, 16), (5, 5)),
        *flops.mlp(batch, (400, 120, 84, 10)),
    ]
