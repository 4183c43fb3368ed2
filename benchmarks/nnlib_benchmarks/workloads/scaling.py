"""Networks of growing width, batch or depth, for training steps over size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from nnlib import models
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import LEAST_WARMUP, Budget, Optimizer, Plan, Workload
from nnlib_benchmarks.workloads.compare import noise

SIZES = (64, 300, 10)  #: of the network whose batch grows
SWEEP_BATCH = 64  #: of the network whose width grows

COARSE = {"width": (32, 64, 128, 256, 512, 1024, 2048), "batch": (8, 32, 128, 512, 2048)}
QUICK = {"width": (64, 256, 1024), "batch": (32, 512)}
FINE = {
    "width": (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048),
    "batch": (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048),
    "depth": (10, 30, 100, 300, 1000),
}
QUICK_FINE = {"width": (16, 64, 256), "batch": (1, 32, 256), "depth": (3, 10)}

NARROW, NARROW_BATCH = 8, 4  #: width and batch of the network whose depth grows

DEEPEST_COMPILED = 100
"""PyTorch and JAX compile deeper networks for minutes, so they take part up to here."""
SLOW_COMPILERS = ("torch-compile", "jax")

SECONDS = 0.25  #: budget of each contestant at each point


@dataclass(frozen=True)
class SweepPoint:
    """A network and a batch size whose training step is timed.

    Attributes
    ----------
    operation, size, unit
        See `nnlib_benchmarks.records.Operation`.
    sizes : tuple of int
        Input features, then the neurons of every layer.
    batch : int
        Examples.
    hidden : str
        Activation.
    """

    operation: str
    size: int
    unit: str
    sizes: tuple[int, ...]
    batch: int
    hidden: str = "relu"

    @property
    def shape(self) -> str:
        """The network in words."""
        widths = "-".join(map(str, self.sizes))
        if len(self.sizes) > 9:
            widths = f"{len(self.sizes) - 1} layers of {self.sizes[0]}"
        return f"{widths}, batch {self.batch}"

    @property
    def bytes(self) -> int:
        """Memory of weights, their gradients and activations."""
        weights = sum(a * b + b for a, b in pairwise(self.sizes))
        return 4 * (2 * weights + self.batch * sum(self.sizes))

    def takes_part(self, name: str) -> bool:
        """Whether a contestant is measured here (see `DEEPEST_COMPILED`)."""
        return name not in SLOW_COMPILERS or len(self.sizes) <= DEEPEST_COMPILED + 1

    def workload(self, contestants: int, seed: int) -> Workload:
        """Make the workload, with a budget proportional to the number of contestants."""
        steps = Budget(SECONDS * contestants, least=9, most=300)
        loading = Budget(0.0, 0, 0)
        plan = Plan(self.batch, LEAST_WARMUP, steps, loading, block=100, breakdown=0, epochs=0)
        return Workload(
            name=f"{self.operation} {self.size}",
            title=self.unit,
            data_text="noise",
            model_text=self.shape,
            layers=layers.mlp(self.sizes, self.hidden),
            build=lambda: models.MLP(self.sizes, activation=self.hidden),
            train=noise(self.sizes[:1], self.sizes[-1], self.batch, seed),
            test=None,
            target=0.0,
            optimizer=Optimizer("sgd", 0.01),
            plan=plan,
        )


def crossover_points(quick: bool) -> Iterator[SweepPoint]:
    """A few widths and batches, to find the crossover."""
    return _points(QUICK if quick else COARSE)


def scaling_points(quick: bool) -> Iterator[SweepPoint]:
    """Many widths and batches, to find cliffs, and depths, for the cost of a small layer."""
    return _points(QUICK_FINE if quick else FINE)


def _points(sizes: dict[str, tuple[int, ...]]) -> Iterator[SweepPoint]:
    for width in sizes["width"]:
        unit = f"hidden units of 64-w-w-10, batch {SWEEP_BATCH}"
        yield SweepPoint("mlp width", width, unit, (64, width, width, 10), SWEEP_BATCH)
    for batch in sizes["batch"]:
        yield SweepPoint("mlp batch", batch, "batch of 64-300-10", SIZES, batch)
    for depth in sizes.get("depth", ()):
        unit = f"layers of Linear({NARROW}, {NARROW}) and tanh, batch {NARROW_BATCH}"
        widths = (NARROW,) * (depth + 1)
        yield SweepPoint("mlp depth", depth, unit, widths, NARROW_BATCH, "tanh")
