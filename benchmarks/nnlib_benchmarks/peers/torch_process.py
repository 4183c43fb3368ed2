"""PyTorch eager on the CPU: the program that runs in the peer's own process.

Images are laid out channels-last, the layout that oneDNN likes best and nnlib uses.  It imports
PyTorch and NumPy, not nnlib.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn
from torch.nn import functional as F

from nnlib_benchmarks.memory import host_peak, reset_host_peak


class Flatten(nn.Module):  # type: ignore[misc]
    """Flattens in the order height, width, channels, as nnlib does: free when channels-last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, H·W·C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


def build(layers: list[dict[str, Any]], weights: list[Any]) -> nn.Sequential:
    """Make the model of a workload's `layers`, its weights in the order of nnlib's state."""
    made: list[nn.Module] = []
    rest = iter(weights)
    for layer in layers:
        kind = layer["kind"]
        if kind in ("linear", "conv"):
            made.append(_weighted(kind, torch.from_numpy(next(rest)), next(rest), layer))
        elif kind == "flatten":
            made.append(Flatten())
        elif kind == "maxpool":
            made.append(nn.MaxPool2d(layer["size"]))
        elif kind == "avgpool":
            made.append(nn.AvgPool2d(layer["size"]))
        else:
            made.append({"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[kind]())
    return nn.Sequential(*made).to(memory_format=torch.channels_last)


def _weighted(kind: str, weight: torch.Tensor, bias: Any, layer: dict[str, Any]) -> nn.Module:
    module: nn.Module
    with torch.device("meta"):  # no initialisation of weights that are replaced at once
        if kind == "linear":
            module = nn.Linear(weight.shape[1], weight.shape[0])
        else:
            weight = weight.permute(0, 3, 1, 2)  # (out, kh, kw, in) → (out, in, kh, kw)
            size = tuple(weight.shape[2:])
            module = nn.Conv2d(
                weight.shape[1], weight.shape[0], size, padding=layer.get("padding", 0)
            )
    module.weight = nn.Parameter(weight)
    module.bias = nn.Parameter(torch.from_numpy(bias))
    return module


class Peer:
    """Answers the commands that `nnlib_benchmarks.peers.process` lists."""

    def describe(self) -> dict[str, Any]:
        """Say what runs here."""
        return {
            "device": f"{_processor()}, PyTorch eager",
            "cores": torch.get_num_threads(),
            "memory_bytes": psutil.virtual_memory().total,
            "precision": "fp32",
            "libraries": {"torch": torch.__version__},
            "details": {
                "mode": "eager, CPU, channels-last",
                "threads": torch.get_num_threads(),
                "mkldnn": torch.backends.mkldnn.is_available(),
                "mkl": torch.backends.mkl.is_available(),
            },
        }

    def peak(self, sizes: list[int]) -> dict[str, Any]:
        """Measure square products."""
        rates = {}
        for n in sizes:
            a, b = torch.randn(n, n), torch.randn(n, n)
            best = min(_time(partial(torch.mm, a, b)) for _ in range(5))
            rates[n] = 2 * n**3 / best
        return {"rates": rates}

    def load(self, folder: str) -> dict[str, Any]:
        """Read the task and make the model."""
        self.spec = json.loads(Path(folder, "spec.json").read_text(encoding="utf8"))
        with np.load(Path(folder, "data.npz")) as file:
            self.data = {name: file[name] for name in file.files}
        with np.load(Path(folder, "weights.npz")) as file:
            weights = [file[name] for name in file.files]
        self.initial = [w.copy() for w in weights] if "test_pixels" in self.data else []
        memory = psutil.Process().memory_info().rss
        reset_host_peak()
        begin = time.perf_counter()
        self._start(weights)
        seconds = time.perf_counter() - begin
        first = self.data["order"][0][: self.spec["device_batches"]]
        self.batches = itertools.cycle([self._batch(rows) for rows in first])
        self.stream = self._epochs()
        return {"build_s": seconds, "memory_bytes": memory}

    def _start(self, weights: list[Any]) -> None:
        self.model = build(self.spec["layers"], weights)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=self.spec["learning_rate"], momentum=self.spec["momentum"]
        )
        self.history: list[torch.Tensor] = []

    def _epochs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for epoch in itertools.cycle(self.data["order"]):
            for rows in epoch:
                yield self._batch(rows)

    def _batch(self, rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
        x = self._prepare(self.data["pixels"][rows])
        return x, torch.from_numpy(self.data["labels"][rows])

    def _prepare(self, pixels: Any) -> torch.Tensor:
        x = pixels.astype(np.float32)
        x *= np.float32(self.spec["scale"])
        if self.spec["shift"]:
            x += np.float32(self.spec["shift"])
        made = torch.from_numpy(x)
        return made.permute(0, 3, 1, 2) if made.ndim == 4 else made

    def _step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        x, y = batch
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.history.append(loss.detach())

    def _steps(self, steps: int, batches: Iterator[Any]) -> list[float]:
        return [_time(lambda: self._step(next(batches))) for _ in range(steps)]

    def warm_up(self, steps: int) -> dict[str, Any]:
        """Run uncounted steps."""
        seconds = self._steps(steps, self.batches)
        return {"seconds": seconds, "memory_bytes": host_peak()}

    def compute(self, steps: int) -> dict[str, Any]:
        """Run steps on batches in memory."""
        return {"seconds": self._steps(steps, self.batches)}

    def end_to_end(self, steps: int) -> dict[str, Any]:
        """Run steps that load their batch."""
        return {"seconds": self._steps(steps, self.stream)}

    def losses(self) -> dict[str, Any]:
        """Return all losses so far."""
        return {"losses": [float(loss) for loss in self.history]}

    def breakdown(self, steps: int) -> dict[str, Any]:
        """Time the parts of a step."""
        parts: list[list[float]] = [[], [], []]
        for _ in range(steps):
            for part, seconds in zip(parts, self._step_in_parts(), strict=True):
                part.append(seconds)
        names = ("forward", "backward", "update")
        return {name: float(np.median(p)) for name, p in zip(names, parts, strict=True)}

    def _step_in_parts(self) -> tuple[float, float, float]:
        x, y = next(self.batches)
        loss: list[torch.Tensor] = []
        self.optimizer.zero_grad()
        return (
            _time(lambda: loss.append(F.cross_entropy(self.model(x), y))),
            _time(lambda: loss[0].backward()),
            _time(self.optimizer.step),
        )

    def target(self, epochs: int) -> dict[str, Any]:
        """Train from the initial weights until the target accuracy."""
        self._start([w.copy() for w in self.initial])
        curve: list[float] = []
        seconds = 0.0
        while len(curve) < epochs and not (curve and curve[-1] >= self.spec["target"]):
            seconds += _time(partial(self._epoch, self.data["order"][len(curve)]))
            curve.append(self._accuracy())
        return {"curve": curve, "seconds": seconds}

    def _epoch(self, order: Any) -> None:
        for rows in order:
            self._step(self._batch(rows))

    def _accuracy(self) -> float:
        with torch.no_grad():
            scores = self.model(self._prepare(self.data["test_pixels"])).numpy()
        return float((scores.argmax(axis=1) == self.data["test_labels"]).mean())


def _time(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
        return (
            next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
        )
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def main() -> None:
    """Serve commands until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    peer = Peer()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(peer, command.pop("do"))(**command)
        except Exception as error:  # noqa: BLE001 - reported to the parent, which decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
