"""A peer as the harness sees it: a child process that is told what to do, one line at a time.

Each command is a line of JSON on the child's stdin, each answer a line of JSON on its stdout:

=====================================  =======================================================
``{"do": "describe"}``                 device, libraries, details, cores, memory
``{"do": "peak", "sizes": […]}``       n → best rate of an n×n product
``{"do": "load", "folder": …}``        reads `write_task`'s files; seconds to build the model
``{"do": "warm_up", "steps": n}``      seconds of each step; memory
``{"do": "compute", "steps": n}``      seconds of each step, batch in memory as the library has it
``{"do": "end_to_end", "steps": n}``   seconds of each step, batch gathered and converted first
``{"do": "losses"}``                   the loss of every step so far
``{"do": "breakdown", "steps": n}``    forward, backward and update in seconds
``{"do": "target", "epochs": n}``      seconds and accuracy curve of a training from the start
=====================================  =======================================================
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nnlib_benchmarks.contestants import DEVICE_BATCHES, Weights
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.peers.registry import MODULES
from nnlib_benchmarks.records import Breakdown, Contestant, Energy, Peak, Target, Timing
from nnlib_benchmarks.workloads.base import Workload

ORDERED_EPOCHS = 40  #: as many epochs of batches as a peer is told, more than any workload runs


class PeerProcess:
    """Starts a peer and talks to it.

    Parameters
    ----------
    name : str
        One of `nnlib_benchmarks.peers.registry.MODULES`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._child = subprocess.Popen(
            [sys.executable, "-m", MODULES[name]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer.

        Raises
        ------
        PeerError
            If the process ends, or reports an error.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(
                f"the process of {self.name} ended at {command!r} with exit code "
                f"{self._child.wait()}; its own message is above. Leave it out of --peers."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.name} failed at {command!r}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()  # the child leaves its loop
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()


def describe_peer(name: str, sizes: list[int]) -> Contestant:
    """Ask a peer who it is, and measure its matmul peak.

    Raises
    ------
    PeerError
        If it does not answer.
    """
    process = PeerProcess(name)
    try:
        answer = process.ask("describe")
        rates = {str(n): float(r) for n, r in process.ask("peak", sizes=sizes)["rates"].items()}
    finally:
        process.close()
    best = max(rates, key=lambda n: rates[n])
    return Contestant(name=name, kind="peer", peak=Peak(rates[best], int(best), rates), **answer)


class PeerTrainee:
    """A peer's part in one workload; see `nnlib_benchmarks.contestants.Trainee`."""

    def __init__(self, name: str, workload: Workload, weights: Weights, seed: int) -> None:
        self.name = name
        self._target = workload.target if workload.test is not None else None
        self._compute: list[float] = []
        self._end_to_end: list[float] = []
        self._process = PeerProcess(name)
        try:
            with tempfile.TemporaryDirectory(prefix="nnlib-bench-") as folder:
                write_task(Path(folder), workload, weights, seed)
                answer = self._process.ask("load", folder=folder)
        except BaseException:
            self._process.close()
            raise
        self.build_s = float(answer["build_s"])
        self.memory_before: int | None = answer["memory_bytes"]
        self.memory_peak: int | None = None

    def warm_up(self, steps: int) -> list[float]:
        """Run uncounted steps; return the seconds of each."""
        answer = self._process.ask("warm_up", steps=steps)
        self.memory_peak = answer["memory_bytes"]
        return [float(s) for s in answer["seconds"]]

    def compute(self, steps: int) -> None:
        """Time steps whose batch is in memory."""
        self._compute += self._process.ask("compute", steps=steps)["seconds"]

    def end_to_end(self, steps: int) -> None:
        """Time steps that load their batch."""
        self._end_to_end += self._process.ask("end_to_end", steps=steps)["seconds"]

    def timings(self) -> tuple[Timing, Timing]:
        """Summaries of the steps timed so far: compute, end to end."""
        return Timing.from_samples(self._compute), Timing.from_samples(self._end_to_end)

    def losses(self) -> list[float]:
        """Return the loss of every step so far."""
        return [float(loss) for loss in self._process.ask("losses")["losses"]]

    def breakdown(self, steps: int) -> Breakdown | None:
        """Time the parts of further steps."""
        return Breakdown(**self._process.ask("breakdown", steps=steps))

    def energy(self) -> Energy | None:
        """Nothing: peers run on the CPU."""
        return None

    def to_target(self, epochs: int) -> Target | None:
        """Train anew until the target accuracy."""
        if self._target is None or epochs == 0:
            return None
        answer = self._process.ask("target", epochs=epochs)
        curve = [float(a) for a in answer["curve"]]
        reached = curve[-1] >= self._target
        return Target(self._target, reached, answer["seconds"], len(curve), epochs, curve)

    def close(self) -> None:
        """End the process."""
        self._process.close()


def write_task(folder: Path, workload: Workload, weights: Weights, seed: int) -> None:
    """Write what a peer needs to know: weights, data, the order of the examples, the model."""
    plan, train, test = workload.plan, workload.train, workload.test
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
    arrays = {
        "pixels": train.pixels,
        "labels": train.labels,
        "order": train.order(plan.batch, seed, ORDERED_EPOCHS),
    }
    if test is not None:
        arrays |= {"test_pixels": test.pixels, "test_labels": test.labels}
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    spec = {
        "layers": workload.layers,
        "scale": train.scale,
        "shift": train.shift,
        "learning_rate": workload.optimizer.learning_rate,
        "momentum": workload.optimizer.momentum,
        "target": workload.target,
        "device_batches": DEVICE_BATCHES,
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf8")
