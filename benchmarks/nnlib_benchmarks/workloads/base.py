"""What a training workload is: data in host memory, a model, and how long to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib import data, nn
from nnlib.random import Generator


@dataclass(frozen=True)
class Budget:
    """How many steps: as many as fit into `seconds` (all contestants together), within limits."""

    seconds: float
    least: int
    most: int


@dataclass(frozen=True)
class Plan:
    """How a workload is run.

    Attributes
    ----------
    batch : int
        Examples in a batch.
    warmup : int
        Uncounted steps; the first is reported on its own.
    compute, end_to_end : Budget
        Steps with the batch on the device, and steps that load it.
    block : int
        Steps of one contestant before the next has its turn.
    breakdown : int
        Steps timed part by part.
    epochs : int
        Limit for the training to the target accuracy; 0 leaves it out.
    """

    batch: int
    warmup: int
    compute: Budget
    end_to_end: Budget
    block: int
    breakdown: int
    epochs: int


@dataclass(frozen=True)
class Samples:
    """Images in host memory as they come from a file: bytes, turned to float32 batch by batch.

    Attributes
    ----------
    pixels : array of uint8, (N, …)
    labels : array of int64, (N,)
    scale, shift : float
        A batch is ``pixels · scale + shift``.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    scale: float
    shift: float = 0.0

    def prepare(self, pixels: Any) -> Any:
        """Turn the pixels of a batch into float32."""
        x = pixels.astype(np.float32)
        x *= np.float32(self.scale)
        if self.shift:
            x += np.float32(self.shift)
        return x

    def loader(self, batch: int, seed: int) -> data.DataLoader:
        """Batches in a shuffled order that depends on the seed only; a short last one is dropped.

        They go to the backend that is current when the loop over the loader begins.
        """
        return data.DataLoader(
            data.ArrayDataset(self.pixels, self.labels),
            batch,
            shuffle=True,
            drop_last=True,
            transform=self.prepare,
            generator=Generator(seed),
        )

    def order(self, batch: int, seed: int, epochs: int) -> npt.NDArray[np.int64]:
        """The rows that `loader` visits, (epochs, batches, batch): for those who cannot use it."""
        indices = data.ArrayDataset(np.arange(len(self.labels)))
        loader = data.DataLoader(
            indices, batch, shuffle=True, drop_last=True, generator=Generator(seed), backend="numpy"
        )
        rows = [[rows.numpy() for (rows,) in loader] for _ in range(epochs)]
        return np.asarray(rows, dtype=np.int64)


@dataclass(frozen=True)
class Workload:
    """A model to train, on what, and how.

    Attributes
    ----------
    name, title : str
        ``"lenet"``, and a line for the report.
    data_text, model_text : str
        Data and model in words, for the report.
    layers : list of dict
        The model layer by layer, for other libraries to build the same: `nnlib_benchmarks.peers`.
    build : callable
        Makes the model on the current backend.
    train : Samples
        What it is trained on.
    test : Samples or None
        On what accuracy is measured; ``None`` for synthetic data.
    target : float
        The test accuracy to be reached, 0 to 1.
    learning_rate, momentum : float
        Of plain stochastic gradient descent.
    flops : callable
        Batch → nominal operations of one step.
    plan : Plan
        How long to run.
    """

    name: str
    title: str
    data_text: str
    model_text: str
    layers: list[dict[str, Any]]
    build: Callable[[], nn.Module]
    train: Samples
    test: Samples | None
    target: float
    learning_rate: float
    momentum: float
    flops: Callable[[int], int]
    plan: Plan

    @property
    def optimizer_text(self) -> str:
        """The optimizer in words."""
        return f"SGD, learning rate {self.learning_rate:g}, momentum {self.momentum:g}"


def endless(loader: data.DataLoader) -> Iterator[tuple[Any, ...]]:
    """Batches of one epoch after another."""
    while True:
        yield from loader
