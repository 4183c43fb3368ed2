"""What a training workload is: data in host memory, a model, and how long to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib import data, nn, optim
from nnlib.random import Generator
from nnlib_benchmarks import flops
from nnlib_benchmarks.workloads import layers as description

LEAST_WARMUP = 4  #: steps

PRECISIONS = ("fp32", "tf32", "bf16")
"""Of a workload: float32; float32 whose products may round their inputs to TF32; bfloat16 for data
and products beside float32 parameters."""

_UNITS = {"conv": "images", "gpt": "tokens", "lstm": "sequences"}


@dataclass(frozen=True)
class Budget:
    """How many steps: as many as fit into `seconds` (all contestants together), within limits."""

    seconds: float
    least: int
    most: int


@dataclass(frozen=True)
class Optimizer:
    """How weights follow their gradients.

    Attributes
    ----------
    kind : str
        ``"sgd"`` or ``"adamw"``.
    learning_rate : float
        Constant.
    momentum : float
        Of SGD.
    weight_decay : float
        Of AdamW, decoupled from the gradient; its other constants are PyTorch's defaults.
    """

    kind: str
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def text(self) -> str:
        """The optimizer in words."""
        if self.kind == "sgd":
            return f"SGD, learning rate {self.learning_rate:g}, momentum {self.momentum:g}"
        return f"AdamW, learning rate {self.learning_rate:g}, weight decay {self.weight_decay:g}"

    def build(self, parameters: Any) -> optim.Optimizer:
        """Make nnlib's.

        Examples
        --------
        >>> type(Optimizer("sgd", 0.1).build(nn.Linear(2, 1).parameters())).__name__
        'SGD'
        """
        if self.kind == "sgd":
            return optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum)
        return optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Plan:
    """How a workload is run.

    Attributes
    ----------
    batch : int
        Examples in a batch.
    warmup : int
        Uncounted steps, the first reported on its own.  At least `LEAST_WARMUP`: recording and
        compiling must be over.
    compute, end_to_end : Budget
        Steps with the batch on the device, and steps that load it.
    block : int
        Steps of one contestant before the next has its turn.
    breakdown : int
        Steps timed part by part.
    epochs : int
        Limit for the training to the target accuracy; 0 leaves it out.
    alone : bool
        Everybody trains alone, one after the other, as many steps as `compute` and `end_to_end`
        say at least: the models of all together would not fit into a GPU's memory.
    energy : bool
        Whether to read the energy meter, which takes two seconds of steps.
    """

    batch: int
    warmup: int
    compute: Budget
    end_to_end: Budget
    block: int
    breakdown: int
    epochs: int
    alone: bool = False
    energy: bool = True


@dataclass(frozen=True)
class Samples:
    """Images, sequences or tokens in host memory: bytes, turned to numbers batch by batch.

    Attributes
    ----------
    pixels : array of uint8 or uint16, (N, …)
    labels : array of int64, (N,) or, where an example has a label at every position, (N, …)
    scale : float or None
        ``None`` for tokens: a batch is their numbers, int64.
    shift : float
        Otherwise a batch is ``pixels · scale + shift``, float32.
    """

    pixels: npt.NDArray[np.unsignedinteger[Any]]
    labels: npt.NDArray[np.int64]
    scale: float | None
    shift: float = 0.0

    def prepare(self, pixels: Any) -> Any:
        """Turn the bytes of a batch into what the model sees."""
        if self.scale is None:
            return pixels.astype(np.int64)
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
        The model layer by layer, for other libraries to build the same; see
        `nnlib_benchmarks.workloads.layers`.
    build : callable
        Makes the model on the current backend.
    train : Samples
        What it is trained on.
    test : Samples or None
        On what accuracy is measured; ``None`` for synthetic data.
    target : float
        The test accuracy to be reached, 0 to 1.
    optimizer : Optimizer
        How weights follow their gradients.
    plan : Plan
        How long to run.
    precision : str
        One of `PRECISIONS`: of forward and loss, and so of the backward pass.
    for_gpu : bool
        Too large for a CPU, where a GPU takes part too.
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
    optimizer: Optimizer
    plan: Plan
    precision: str = "fp32"
    for_gpu: bool = False

    def takes_part(self, on_gpu: bool) -> bool:
        """Whether a contestant is measured where others run on a GPU: a CPU not in everything."""
        return on_gpu or not (self.for_gpu or self.precision != "fp32")

    @property
    def unit(self) -> str:
        """What throughput counts: ``"images"``, ``"tokens"``, ``"sequences"`` or ``"examples"``."""
        return _UNITS.get(self.layers[0]["kind"], "examples")

    def units(self, batch: int) -> int:
        """How many of these a step trains on."""
        return batch * (self.train.pixels.shape[1] if self.unit == "tokens" else 1)

    def flops(self, batch: int) -> int:
        """Nominal operations of one step."""
        shape = self.train.pixels.shape[1:]
        return flops.training_step(description.operations(self.layers, shape, batch))


def endless(loader: data.DataLoader) -> Iterator[tuple[Any, ...]]:
    """Batches of one epoch after another."""
    while True:
        yield from loader
