"""The program of a peer's process, which trains and measures.

A library is a `Peer`, which makes the model, a batch and a step.  `serve` answers the commands
that `nnlib_benchmarks.peers.process` lists.  This module imports neither nnlib nor another library
than NumPy, so that they do not count in a peer's memory.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from nnlib_benchmarks.memory import host_peak, reset_host_peak

REPETITIONS = 5  #: of a matrix product; the fastest counts

CUDA = "-cuda"  #: ends the name of a peer that runs on the GPU; the others run on the CPU


def on_gpu(name: str) -> bool:
    """Whether a peer runs on the GPU.

    Examples
    --------
    >>> on_gpu("torch-cuda"), on_gpu("torch")
    (True, False)
    """
    return name.endswith(CUDA)


class UnsuitableError(Exception):
    """The library cannot express a workload; the text is the reason."""


class Peer(ABC):
    """One library, or one mode of it.

    Attributes
    ----------
    name : str
        As in ``--peers``.
    on_gpu : bool
        Whether it runs on the GPU.
    spec : dict
        The task: ``layers`` (see `nnlib_benchmarks.workloads.layers`), ``optimizer`` (the fields
        of `nnlib_benchmarks.workloads.base.Optimizer`), ``precision``, and what `Server` needs.
    """

    spec: dict[str, Any]

    def __init__(self, name: str) -> None:
        self.name = name
        self.on_gpu = on_gpu(name)

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Describe it: ``device``, ``cores``, ``libraries``, ``details``.

        Raises
        ------
        Exception
            If it cannot run on this machine.
        """

    @abstractmethod
    def product(self, n: int) -> Callable[[], object]:
        """Return a function that multiplies two n×n float32 matrices and waits for the result."""

    @abstractmethod
    def start(self, weights: list[Any]) -> None:
        """Make the model of `spec` with these weights (not copied), and a new optimizer.

        Raises
        ------
        UnsuitableError
            If the library cannot express it.
        """

    @abstractmethod
    def batch(self, x: Any, y: Any) -> Any:
        """Convert a batch to the library's arrays: float32 (NHWC) or int64, labels int64."""

    @abstractmethod
    def step(self, batch: Any) -> Any:
        """Make or begin one training step; return its loss, to be converted by ``float`` later."""

    def wait(self) -> None:  # noqa: B027 - most have nothing to wait for
        """Wait until all steps are done."""

    @abstractmethod
    def scores(self, x: Any) -> Any:
        """Return the model's output for evaluation, a host array."""

    def parts(self, batch: Any) -> tuple[float, float, float] | None:
        """Make a step; return the seconds of forward, backward and update if it has such parts."""
        return None

    def memory(self) -> int | None:
        """Memory in use: of this process, or on the GPU."""
        return int(psutil.Process().memory_info().rss)

    def forget_peak(self) -> None:
        """Reset the peak memory."""
        reset_host_peak()

    def peak_memory(self) -> int | None:
        """Peak memory since `forget_peak`; ``None`` if the library has no figure."""
        return host_peak()

    def stop(self) -> None:  # noqa: B027 - a process that ends gives all back by itself
        """Free model, optimizer and memory of the GPU."""


class Server:
    """Answers commands for a peer, measures, and keeps the losses."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._losses: list[Any] = []

    def describe(self) -> dict[str, Any]:
        """Describe the library and its device."""
        common = {"memory_bytes": psutil.virtual_memory().total, "precision": "fp32"}
        return common | self._peer.describe()

    def peak(self, sizes: list[int]) -> dict[str, Any]:
        """Measure square products: the rate of the fastest of each size."""
        rates = {}
        for n in sizes:
            multiply = self._peer.product(n)
            multiply()
            rates[n] = 2 * n**3 / min(seconds(multiply) for _ in range(REPETITIONS))
        return {"rates": rates}

    def load(self, folder: str) -> dict[str, Any]:
        """Read the task and make the model."""
        self._peer.product(8)()  # initialises the library, so that its memory is not the task's
        memory = self._peer.memory()
        spec = json.loads(Path(folder, "spec.json").read_text(encoding="utf8"))
        with np.load(Path(folder, "data.npz")) as file:
            self._data = {name: file[name] for name in file.files}
        with np.load(Path(folder, "weights.npz")) as file:
            weights = [file[name] for name in file.files]
        self._initial = [w.copy() for w in weights] if "test_pixels" in self._data else []
        self._spec = self._peer.spec = spec
        self._losses = []
        begin = time.perf_counter()
        self._peer.start(weights)
        build_s = time.perf_counter() - begin
        first = self._data["order"][0][: spec["device_batches"]]
        self._batches: Iterator[Any] = itertools.cycle([self._batch(rows) for rows in first])
        self._stream: Iterator[Any] = self._endless()
        return {"build_s": build_s, "memory_bytes": memory}

    def _endless(self) -> Iterator[Any]:
        for epoch in itertools.cycle(self._data["order"]):
            for rows in epoch:
                yield self._batch(rows)

    def _batch(self, rows: Any) -> Any:
        pixels, labels = self._data["pixels"][rows], self._data["labels"][rows]
        return self._peer.batch(self._prepare(pixels), labels)

    def _prepare(self, pixels: Any) -> Any:
        if self._spec["scale"] is None:  # tokens
            return pixels.astype(np.int64)
        x = pixels.astype(np.float32)
        x *= np.float32(self._spec["scale"])
        if self._spec["shift"]:
            x += np.float32(self._spec["shift"])
        return x

    def _step(self, batches: Iterator[Any]) -> None:
        self._losses.append(self._peer.step(next(batches)))

    def _steps(self, steps: int, batches: Iterator[Any], chain: int = 1) -> list[float]:
        """Make steps; return seconds of one, a sample for every ``chain`` of them."""

        def some() -> None:
            for _ in range(chain):
                self._step(batches)
            self._peer.wait()

        self._peer.wait()
        return [seconds(some) / chain for _ in range(steps // chain)]

    def warm_up(self, steps: int) -> dict[str, Any]:
        """Run uncounted steps."""
        return {"seconds": self._steps(steps, self._batches)}

    def compute(self, steps: int, chain: int = 1) -> dict[str, Any]:
        """Run steps on batches in memory; return their times and the peak memory."""
        self._peer.forget_peak()
        times = self._steps(steps, self._batches, chain)
        return {"seconds": times, "memory_bytes": self._peer.peak_memory()}

    def end_to_end(self, steps: int, chain: int = 1) -> dict[str, Any]:
        """Run steps that load their batch."""
        return {"seconds": self._steps(steps, self._stream, chain)}

    def losses(self) -> dict[str, Any]:
        """Return all losses so far."""
        return {"losses": [float(loss) for loss in self._losses]}

    def breakdown(self, steps: int) -> dict[str, Any]:
        """Time the parts of further steps."""
        parts = [self._peer.parts(next(self._batches)) for _ in range(steps)]
        if None in parts:
            return {"parts": None}
        return {"parts": [float(median) for median in np.median(parts, axis=0)]}  # type: ignore[arg-type]

    def target(self, epochs: int) -> dict[str, Any]:
        """Train from the initial weights until the target accuracy."""
        self._peer.start([w.copy() for w in self._initial])
        curve: list[float] = []
        total = 0.0
        while len(curve) < epochs and not (curve and curve[-1] >= self._spec["target"]):
            total += seconds(partial(self._epoch, self._data["order"][len(curve)]))
            curve.append(self._accuracy())
        return {"curve": curve, "seconds": total}

    def _epoch(self, order: Any) -> None:
        for rows in order:
            self._peer.step(self._batch(rows))
        self._peer.wait()

    def unload(self) -> dict[str, Any]:
        """Free the memory of the task."""
        self._batches = self._stream = iter(())
        self._losses, self._data, self._initial = [], {}, []
        self._peer.stop()
        return {}

    def _accuracy(self) -> float:
        scores = self._peer.scores(self._prepare(self._data["test_pixels"]))
        return float((scores.argmax(axis=1) == self._data["test_labels"]).mean())


def seconds(action: Callable[[], object]) -> float:
    """Time a call."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
        found = (line for line in lines if line.startswith("model name"))
        return next(found).partition(":")[2].strip()
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(make: Callable[[str], Peer]) -> None:
    """Answer commands from stdin until it ends; the program's one argument is the peer's name."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)  # output of a library must not mix with the answers
    server = Server(make(sys.argv[1]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(server, command.pop("do"))(**command)
        except UnsuitableError as reason:
            answer = {"unsuitable": str(reason)}
        except Exception as error:  # noqa: BLE001 - reported to the parent
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
