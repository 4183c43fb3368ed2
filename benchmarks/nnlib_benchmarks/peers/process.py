"""The harness's side of a peer: a child process that answers commands, one line at a time.

Each command is a line of JSON on the child's stdin, each answer a line of JSON on its stdout:

=====================================  =======================================================
``{"do": "describe"}``                 device, libraries, details, cores, memory
``{"do": "peak", "sizes": […]}``       n → best rate of an n×n product
``{"do": "load", "folder": …}``        reads `write_task`'s files; seconds to build the model
``{"do": "warm_up", "steps": n}``      seconds of each step
``{"do": "compute", "steps": n,``      seconds of each step, batch in memory as the library has it,
``"chain": n}``                        one reading for `chain` steps; the most memory in use
``{"do": "end_to_end", …}``            the same, batch gathered and converted first
``{"do": "losses"}``                   the loss of every step so far
``{"do": "breakdown", "steps": n}``    forward, backward and update in seconds, or null
``{"do": "target", "epochs": n}``      seconds and accuracy curve of a training from the start
``{"do": "unload"}``                   forgets the task, gives the GPU's memory back
=====================================  =======================================================

or ``{"unsuitable": reason}`` for what the library cannot express, or ``{"error": text}``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nnlib_benchmarks.contestants import DEVICE_BATCHES, Weights
from nnlib_benchmarks.errors import PeerError, UnsuitablePeerError
from nnlib_benchmarks.peers.registry import MODULES
from nnlib_benchmarks.records import Breakdown, Contestant, Energy, Peak, Target, Timing
from nnlib_benchmarks.workloads.base import Workload


class PeerProcess:
    """Starts a peer and sends it commands.

    Parameters
    ----------
    name : str
        One of `nnlib_benchmarks.peers.registry.MODULES`.

    Examples
    --------
    >>> process = PeerProcess("numpy")
    >>> process.ask("describe")["kind"]
    'cpu'
    >>> process.close()
    """

    def __init__(self, name: str) -> None:
        self.name = name
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._child = subprocess.Popen(
            [sys.executable, "-m", MODULES[name], name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises
        ------
        UnsuitablePeerError
            If the library cannot express the workload.
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
        if "unsuitable" in answer:
            raise UnsuitablePeerError(answer["unsuitable"])
        if "error" in answer:
            raise PeerError(f"{self.name} failed at {command!r}: {answer['error']}")
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

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
    """Get a peer's description, and measure its matmul peak.

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
    peak = Peak(rates[best], int(best), rates)
    return Contestant(name=name, peak=peak, **{"kind": "peer", **answer})


class PeerTrainee:
    """A peer in one workload; see `nnlib_benchmarks.contestants.Trainee`.

    Parameters
    ----------
    name, workload, weights, seed
        The peer, its workload, the initial weights, and the seed of the order of samples.
    process : PeerProcess, optional
        A running process, which is not ended; one is started and ended if not given.
    """

    def __init__(
        self,
        name: str,
        workload: Workload,
        weights: Weights,
        seed: int,
        process: PeerProcess | None = None,
    ) -> None:
        self.name = name
        self._target = workload.target if workload.test is not None else None
        self._chains = {"compute": 1, "end_to_end": 1}
        self._compute: list[float] = []
        self._end_to_end: list[float] = []
        self._process = process or PeerProcess(name)
        self._owns = process is None
        try:
            with tempfile.TemporaryDirectory(prefix="nnlib-bench-") as folder:
                write_task(Path(folder), workload, weights, seed)
                answer = self._process.ask("load", folder=folder)
        except BaseException:
            self.close()
            raise
        self.build_s = float(answer["build_s"])
        self.memory_before: int | None = answer["memory_bytes"]
        self.memory_peak: int | None = None

    def warm_up(self, steps: int) -> list[float]:
        """Run uncounted steps; return the seconds of each."""
        return [float(s) for s in self._process.ask("warm_up", steps=steps)["seconds"]]

    def compute(self, steps: int, chain: int = 1) -> None:
        """Time steps whose batch is in memory, ``chain`` of them in a sample."""
        self._chains["compute"] = chain
        answer = self._process.ask("compute", steps=steps, chain=chain)
        self._compute += answer["seconds"]
        if answer["memory_bytes"] is not None:
            self.memory_peak = max(self.memory_peak or 0, answer["memory_bytes"])

    def end_to_end(self, steps: int, chain: int = 1) -> None:
        """Time steps that load their batch, ``chain`` of them in a sample."""
        self._chains["end_to_end"] = chain
        answer = self._process.ask("end_to_end", steps=steps, chain=chain)
        self._end_to_end += answer["seconds"]

    def timing(self, phase: str) -> Timing:
        """Summarise the steps timed so far, of ``"compute"`` or ``"end_to_end"``."""
        samples = self._compute if phase == "compute" else self._end_to_end
        return Timing.from_samples(samples, calls_per_sample=self._chains[phase])

    def losses(self) -> list[float]:
        """Return the loss of every step so far."""
        return [float(loss) for loss in self._process.ask("losses")["losses"]]

    def breakdown(self, steps: int) -> Breakdown | None:
        """Time the parts of further steps."""
        parts = self._process.ask("breakdown", steps=steps)["parts"]
        return None if parts is None else Breakdown(*parts)

    def energy(self) -> Energy | None:
        """None: only nnlib's own steps are measured by the energy meter."""
        return None

    def to_target(self, epochs: int) -> Target | None:
        """Train from the initial weights until the target accuracy."""
        if self._target is None or epochs == 0:
            return None
        answer = self._process.ask("target", epochs=epochs)
        curve = [float(a) for a in answer["curve"]]
        reached = curve[-1] >= self._target
        return Target(self._target, reached, answer["seconds"], len(curve), epochs, curve)

    def close(self) -> None:
        """End the process if it was started for this workload; otherwise unload the task."""
        if self._owns:
            self._process.close()
        elif self._process.alive:
            try:
                self._process.ask("unload")
            except PeerError:  # its memory is freed when it ends
                self._process.close()


class Lasting:
    """Makes the trainees of one peer in all workloads, in one process: a context manager.

    A GPU's libraries take seconds to start, and free most but not all of their memory between
    workloads: where a contestant needs the whole GPU (`Plan.alone`) each workload has a new
    process, as on the CPU, where memory is measured by process.

    Parameters
    ----------
    name : str
        One of `nnlib_benchmarks.peers.registry.MODULES`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: PeerProcess | None = None

    def __call__(self, workload: Workload, weights: Weights, seed: int) -> PeerTrainee:
        """Make a trainee; the process is started at the first one, and again if it has ended."""
        if workload.plan.alone:
            self._end()
            return PeerTrainee(self._name, workload, weights, seed)
        if self._process is not None and not self._process.alive:
            self._end()
        self._process = self._process or PeerProcess(self._name)
        return PeerTrainee(self._name, workload, weights, seed, self._process)

    def __enter__(self) -> Lasting:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = None


def write_task(folder: Path, workload: Workload, weights: Weights, seed: int) -> None:
    """Write the files of a task: weights, data, the order of the samples, the model."""
    plan, train, test = workload.plan, workload.train, workload.test
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
    arrays = {
        "pixels": train.pixels,
        "labels": train.labels,
        "order": train.order(plan.batch, seed, _epochs(workload)),
    }
    if test is not None:
        arrays |= {"test_pixels": test.pixels, "test_labels": test.labels}
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    spec = {
        "layers": workload.layers,
        "scale": train.scale,
        "shift": train.shift,
        "optimizer": asdict(workload.optimizer),
        "precision": workload.precision,
        "batch": plan.batch,
        "target": workload.target,
        "device_batches": DEVICE_BATCHES,
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf8")


def _epochs(workload: Workload) -> int:
    """The largest number of epochs that a run can need."""
    plan = workload.plan
    steps = plan.end_to_end.most + plan.block
    return max(plan.epochs, -(-steps // (len(workload.train.labels) // plan.batch)))
