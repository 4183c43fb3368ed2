"""Contestants: backends of nnlib that train from common initial weights.

`BackendContestant` and the peers (`nnlib_benchmarks.peers`) have the same methods, so that
`nnlib_benchmarks.training` can run them in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

import nnlib
import nnlib.nn.functional as F
from nnlib import data, nn
from nnlib_benchmarks.energy import measure_energy
from nnlib_benchmarks.memory import PeakMemory
from nnlib_benchmarks.records import Breakdown, Contestant, Energy, Target, Timing
from nnlib_benchmarks.timing import Stopwatch
from nnlib_benchmarks.workloads.base import Samples, Workload, endless

Weights: TypeAlias = dict[str, npt.NDArray[Any]]

EAGER = "-eager"  #: ends the name of a backend whose steps are not compiled
DEVICE_BATCHES = 32  #: at most so many batches are kept on the device
EVALUATION_BATCH = 256


class Trainee(Protocol):
    """Interface of a contestant in a training workload."""

    name: str
    build_s: float
    memory_before: int | None
    memory_peak: int | None

    def warm_up(self, steps: int) -> list[float]:
        """Run uncounted steps; return the seconds of each."""

    def compute(self, steps: int, chain: int = 1) -> None:
        """Time steps whose batch is on the device, ``chain`` of them in a sample."""

    def end_to_end(self, steps: int, chain: int = 1) -> None:
        """Time steps that load their batch, in a chain while a GPU computes the last one."""

    def timing(self, phase: str) -> Timing:
        """Summarise the steps timed so far, of ``"compute"`` or ``"end_to_end"``."""

    def losses(self) -> list[float]:
        """Return the loss of every step so far, in order."""

    def breakdown(self, steps: int) -> Breakdown | None:
        """Time the parts of further steps."""

    def energy(self) -> Energy | None:
        """Measure further steps by the device's energy meter."""

    def to_target(self, epochs: int) -> Target | None:
        """Train from the initial weights until the workload's target accuracy."""

    def close(self) -> None:
        """Free all memory."""


def is_eager(name: str) -> bool:
    """Whether a contestant of nnlib trains without `nnlib.compile`.

    Examples
    --------
    >>> is_eager("numpy"), is_eager("numpy-eager")
    (False, True)
    """
    return name.endswith(EAGER)


def backend_of(name: str) -> str:
    """Name the backend of a contestant of nnlib.

    Examples
    --------
    >>> backend_of("numpy-eager")
    'numpy'
    """
    return name.removesuffix(EAGER)


def describe_backend(name: str) -> Contestant:
    """Describe a contestant of nnlib by its backend's information.

    Examples
    --------
    >>> describe_backend("numpy").precision
    'fp32'
    """
    info = nnlib.backend_info(backend_of(name))
    return Contestant(
        name=name,
        kind=info["kind"],
        device=info["name"],
        cores=info["cores"],
        memory_bytes=info["memory_bytes"],
        precision=precision(info["details"]),
        libraries=info["libraries"],
        details={**info["details"], "compiled": not is_eager(name)},
    )


def precision(details: Mapping[str, Any]) -> str:
    """Name the arithmetic of float32 matrix products: TF32 if it is on.

    Examples
    --------
    >>> precision({"float32_precision": "TF32"})
    'tf32'
    """
    return str(details.get("float32_precision", "FP32")).lower()


def precision_scope(name: str) -> Callable[[], AbstractContextManager[None]]:
    """Return a function that makes the context for forward and loss in a precision.

    Examples
    --------
    >>> with precision_scope("bf16")():
    ...     y = nn.Linear(3, 2)(nnlib.ones(1, 3))
    >>> y.dtype.name
    'bfloat16'
    """
    return nullcontext if name == "fp32" else partial(nnlib.autocast, name)


def training_step(
    model: nn.Module,
    optimizer: Any,
    *,
    eager: bool = False,
    scope: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Callable[..., Any]:
    """Return one training step as a function of a batch that returns the loss.

    Parameters
    ----------
    model, optimizer
        The trained model and its optimizer.
    eager : bool
        Leave it uncompiled.
    scope : callable
        Makes the context for forward and loss; see `precision_scope`.
    """

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        with scope():
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step if eager else nnlib.compile(step)


def initial_weights(workload: Workload, seed: int) -> tuple[nn.Module, Weights, float]:
    """Make a model on NumPy; return it, a copy of its weights, and the seconds it took to make."""
    with nnlib.use_backend("numpy"):
        nnlib.manual_seed(seed)
        begin = time.perf_counter()
        model = workload.build()
        seconds = time.perf_counter() - begin
        weights = {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
    return model, weights, seconds


class BackendContestant:
    """One backend of nnlib in one workload.

    Parameters
    ----------
    name : str
        The backend, with ``-eager`` behind it if its steps are not to be compiled.
    workload : Workload
        The workload to train.
    weights : dict
        Initial weights by name, host arrays.
    seed : int
        Determines the order of the samples.
    made : (Module, float), optional
        The model of `weights`, if it is on this backend, and the seconds to make it: a large model
        is not made twice.
    """

    def __init__(
        self,
        name: str,
        workload: Workload,
        weights: Weights,
        seed: int,
        made: tuple[nn.Module, float] | None = None,
    ) -> None:
        self.name = name
        self._workload, self._seed = workload, seed
        self._scope = precision_scope(workload.precision)
        self._info = nnlib.backend_info(backend_of(name))
        on_gpu = self._info["kind"] != "cpu"
        with nnlib.use_backend(backend_of(name)) as self._backend:
            self._memory = PeakMemory(self._backend, self._info["kind"])
            self.memory_before: int | None = self._memory.before
            self.memory_peak: int | None = None
            begin = time.perf_counter()
            self._model = self._make_model(weights) if made is None else made[0]
            self._backend.synchronize()
            self.build_s = time.perf_counter() - begin if made is None else made[1]
            self._start()
            self._batches = list(_first_batches(self._loader()))
            self._stream = endless(self._loader())
        self._compute = Stopwatch(self._backend, on_gpu)
        self._end_to_end = Stopwatch(self._backend, on_gpu)
        self._losses: list[Any] = []
        self._at = 0

        # kept only for training to the target accuracy: VGG-16's take half a gigabyte
        self._weights = weights if workload.test is not None else {}

    def _make_model(self, weights: Weights) -> nn.Module:
        with nn.init.skip():  # all values are overwritten
            model = self._workload.build()
        model.load_state_dict(weights)
        return model

    def _start(self) -> None:
        """Make a new optimizer, and a step that uses it."""
        self._optimizer = self._workload.optimizer.build(self._model.parameters())
        self._call = training_step(
            self._model, self._optimizer, eager=is_eager(self.name), scope=self._scope
        )

    def _loader(self) -> data.DataLoader:
        return self._workload.train.loader(self._workload.plan.batch, self._seed)

    # Steps -----------------------------------------------------------------------------------

    def _step(self, x: Any, y: Any) -> None:
        self._losses.append(self._call(x, y))

    def _next_on_device(self) -> tuple[Any, ...]:
        batch: tuple[Any, ...] = self._batches[self._at % len(self._batches)]
        self._at += 1
        return batch

    def _step_on_device(self) -> None:
        self._step(*self._next_on_device())

    def _step_from_host(self) -> None:
        self._step(*next(self._stream))

    def warm_up(self, steps: int) -> list[float]:
        """Run uncounted steps; return the seconds of each."""
        watch = Stopwatch(self._backend)
        with nnlib.use_backend(self._backend):
            return [watch.measure(self._step_on_device) for _ in range(steps)]

    def compute(self, steps: int, chain: int = 1) -> None:
        """Time steps whose batch is on the device, ``chain`` of them in a sample.

        Peak memory is that of the first call: measuring it empties a GPU's pool, and later steps
        would include filling it again.
        """
        first = self.memory_peak is None
        if first:
            self._memory.forget()
        self._compute.calls = chain
        with nnlib.use_backend(self._backend):
            for _ in range(steps // chain):
                self._compute.measure(self._step_on_device)
        if first:
            self.memory_peak = self._memory.bytes()

    def end_to_end(self, steps: int, chain: int = 1) -> None:
        """Time steps that load their batch, ``chain`` of them in a sample."""
        self._end_to_end.calls = chain
        with nnlib.use_backend(self._backend):
            for _ in range(steps // chain):
                self._end_to_end.measure(self._step_from_host)

    def timing(self, phase: str) -> Timing:
        """Summarise the steps timed so far, of ``"compute"`` or ``"end_to_end"``."""
        return (self._compute if phase == "compute" else self._end_to_end).timing()

    def losses(self) -> list[float]:
        """Return the loss of every step so far, in order."""
        return [float(loss.item()) for loss in self._losses]

    # Around the steps ------------------------------------------------------------------------

    def breakdown(self, steps: int) -> Breakdown | None:
        """Time the parts of further steps, synchronised in between; a compiled step has none."""
        if not is_eager(self.name):
            return None
        parts = [Stopwatch(self._backend) for _ in range(3)]
        with nnlib.use_backend(self._backend):
            for _ in range(steps):
                self._step_in_parts(parts)
        forward, backward, update = (watch.timing().median for watch in parts)
        return Breakdown(forward, backward, update)

    def _step_in_parts(self, parts: list[Stopwatch]) -> None:
        x, y = self._next_on_device()
        loss: list[Any] = []
        self._optimizer.zero_grad()

        def forward() -> None:
            with self._scope():
                loss.append(F.cross_entropy(self._model(x), y))

        parts[0].measure(forward)
        parts[1].measure(loss[0].backward)
        parts[2].measure(self._optimizer.step)

    def energy(self) -> Energy | None:
        """Measure further steps by the GPU's energy meter, where there is one."""
        if self._info["kind"] != "gpu":
            return None
        with nnlib.use_backend(self._backend):
            return measure_energy(
                self._step_on_device, self._backend.synchronize, self._info["details"]
            )

    def to_target(self, epochs: int) -> Target | None:
        """Train from the initial weights until the target accuracy or the last epoch."""
        test = self._workload.test
        if test is None or epochs == 0:
            return None
        with nnlib.use_backend(self._backend):
            self._model.load_state_dict(self._weights)
            self._start()
            loader, seconds = self._loader(), 0.0
            curve: list[float] = []
            while len(curve) < epochs and not (curve and curve[-1] >= self._workload.target):
                watch = Stopwatch(self._backend)
                seconds += watch.measure(lambda: self._epoch(loader))
                curve.append(self._accuracy(test))
        target = self._workload.target
        return Target(target, curve[-1] >= target, seconds, len(curve), epochs, curve)

    def _epoch(self, loader: data.DataLoader) -> None:
        for batch in loader:
            self._step(*batch)

    def _accuracy(self, test: Samples) -> float:
        self._model.eval()
        right = 0
        with nnlib.no_grad():
            for begin in range(0, len(test.labels), EVALUATION_BATCH):
                rows = slice(begin, begin + EVALUATION_BATCH)
                x = nnlib.tensor(test.prepare(test.pixels[rows]), backend=self._backend)
                scores = self._model(x).numpy()
                right += int((scores.argmax(axis=1) == test.labels[rows]).sum())
        self._model.train()
        return right / len(test.labels)

    def close(self) -> None:
        """Free the memory of model and batches."""
        del self._model, self._optimizer, self._call, self._batches, self._stream, self._compute
        del self._end_to_end, self._losses
        self._backend.release_memory()


def _first_batches(loader: data.DataLoader) -> Iterator[tuple[Any, ...]]:
    for _, batch in zip(range(DEVICE_BATCHES), loader, strict=False):
        yield batch


MakeTrainee: TypeAlias = Callable[[Workload, Weights, int], Trainee]
"""Makes a peer for a workload: (workload, weights, seed)."""
