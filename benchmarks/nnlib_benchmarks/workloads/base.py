"""A training workload: data in host memory, a model, and the number of steps."""

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
    """Number of steps that fit into `seconds` (all contestants together), within limits."""

    seconds: float
    least: int
    most: int


@dataclass(frozen=True)
class Optimizer:
    """Name and options of an optimizer.

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
        """Make nnlib's optimizer.

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
    """Numbers of steps of a workload.

    Attributes
    ----------
    batch : int
        Samples in a batch.
    warmup : int
        Uncounted steps, the first reported separately.  At least `LEAST_WARMUP`, to include
        tracing and compiling.
    compute, end_to_end : Budget
        Steps with the batch on the device, and steps that load it.
    block : int
        Steps of a turn.
    breakdown : int
        Steps timed part by part.
    epochs : int
        Limit of the training to the target accuracy; 0 omits it.
    alone : bool
        Contestants train one after the other, with the least numbers of steps of `compute` and
        `end_to_end`, because their models together would not fit into a GPU's memory.
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
    """Images, sequences or tokens in host memory: bytes, converted batch by batch.

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
        """Convert the bytes of a batch to inputs of the model."""
        if self.scale is None:
            return pixels.astype(np.int64)
        x = pixels.astype(np.float32)
        x *= np.float32(self.scale)
        if self.shift:
            x += np.float32(self.shift)
        return x

    def loader(self, batch: int, seed: int) -> data.DataLoader:
        """Batches in a shuffled order that depends on the seed only; a short last one is dropped.

        They are on the backend that is current at the beginning of the loop over the loader.
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
        """The rows that `loader` visits, (epochs, batches, batch), for other processes."""
        indices = data.ArrayDataset(np.arange(len(self.labels)))
        loader = data.DataLoader(
            indices, batch, shuffle=True, drop_last=True, generator=Generator(seed), backend="numpy"
        )
        rows = [[rows.numpy() for (rows,) in loader] for _ in range(epochs)]
        return np.asarray(rows, dtype=np.int64)


@dataclass(frozen=True)
class Workload:
    """A model, its data, its optimizer and its plan.

    Attributes
    ----------
    name, title : str
        ``"lenet"``, and a line for the report.
    data_text, model_text : str
        Data and model in words, for the report.
    layers : list of dict
        The model layer by layer, for other libraries; see
        `nnlib_benchmarks.workloads.layers`.
    build : callable
        Makes the model on the current backend.
    train : Samples
        Training data.
    test : Samples or None
        Test data; ``None`` for synthetic data.
    target : float
        The target of the test accuracy, 0 to 1.
    optimizer : Optimizer
    plan : Plan
        Numbers of steps.
    precision : str
        One of `PRECISIONS`, of forward pass and loss, which determines that of the backward pass.
    for_gpu : bool
        Whether to leave out CPUs in a run with a GPU.
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
        """Whether a contestant is measured in a run with a GPU."""
        return on_gpu or not (self.for_gpu or self.precision != "fp32")

    @property
    def unit(self) -> str:
        """Unit of throughput: ``"images"``, ``"tokens"``, ``"sequences"`` or ``"examples"``."""
        return _UNITS.get(self.layers[0]["kind"], "examples")

    def units(self, batch: int) -> int:
        """Number of units in a step."""
        return batch * (self.train.pixels.shape[1] if self.unit == "tokens" else 1)

    def flops(self, batch: int) -> int:
        """Nominal operations of one step."""
        shape = self.train.pixels.shape[1:]
        return flops.training_step(description.operations(self.layers, shape, batch))


def endless(loader: data.DataLoader) -> Iterator[tuple[Any, ...]]:
    """Batches of one epoch after another."""
    while True:
        yield from loader
