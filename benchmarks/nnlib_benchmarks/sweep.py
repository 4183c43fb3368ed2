"""Times whole training steps over width and batch, to find from where on the GPU wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import nnlib
import nnlib.nn.functional as F
from nnlib import models, optim
from nnlib_benchmarks import flops
from nnlib_benchmarks.contestants import Weights
from nnlib_benchmarks.fairness import compare_losses
from nnlib_benchmarks.operations import join_passes, take_turns
from nnlib_benchmarks.progress import Progress
from nnlib_benchmarks.records import Contestant, Operation
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Budget
from nnlib_benchmarks.workloads.mlp import SweepPoint

LEARNING_RATE = 0.01
CHECKED_STEPS = 3  #: losses compared before anything is timed


def run_sweep(
    points: Sequence[SweepPoint],
    contestants: Sequence[Contestant],
    budget: Budget,
    passes: int,
    seed: int,
    progress: Progress,
) -> list[Operation]:
    """Measure every point on every backend; the first is the reference of the agreement."""
    progress.stage("mlp: sweep over width and batch", passes * len(points))
    results: list[list[Operation]] = []
    for _ in range(passes):
        results.append([])
        for point in points:
            results[-1].append(_run_point(point, contestants, budget, seed))
            progress.advance()
    return join_passes(results)


def _run_point(
    point: SweepPoint, contestants: Sequence[Contestant], budget: Budget, seed: int
) -> Operation:
    random = np.random.default_rng(seed)
    x = random.standard_normal((point.batch, point.sizes[0]), dtype=np.float32)
    y = random.integers(0, point.sizes[-1], point.batch)
    with nnlib.use_backend("numpy"):
        nnlib.manual_seed(seed)
        model = models.MLP(point.sizes, activation="relu")
        weights = {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
    actions, losses = {}, {}
    for c in contestants:
        with nnlib.use_backend(c.name):
            batch = (nnlib.tensor(array, backend=c.name) for array in (x, y))
            step = _stepper(point.sizes, weights, *batch)
            losses[c.name] = [float(step().item()) for _ in range(CHECKED_STEPS)]
        actions[c.name] = step
    first = contestants[0].name
    agreements = [
        compare_losses((first, losses[first]), (c.name, losses[c.name]), c.precision)
        for c in contestants[1:]
    ]
    weights_count = sum(a * b + b for a, b in pairwise(point.sizes))
    forward = layers.operations(layers.mlp(point.sizes), (), point.batch)
    return Operation(
        operation=point.operation,
        direction="training step",
        size=point.size,
        unit=point.unit,
        shape=f"{'-'.join(map(str, point.sizes))}, batch {point.batch}",
        bytes=4 * (2 * weights_count + point.batch * sum(point.sizes)),
        flops=float(flops.training_step(forward)),
        times=take_turns(actions, contestants, budget),
        agreements=agreements,
    )


def _stepper(sizes: Sequence[int], weights: Weights, x: Any, y: Any) -> Callable[[], Any]:
    """Return one training step on the current backend, as a function that returns its loss."""
    model = models.MLP(tuple(sizes), activation="relu")
    model.load_state_dict(weights)
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
