"""Plans of one GPU: made once a problem, run often.

The first plan of cuDNN's list is taken, the one that its heuristic believes in, unless another one
was measured to be faster and is in the `TuningCache`.  ``NNLIB_CUDNN_AUTOTUNE=1`` asks for
measuring, at the first computation of each problem.  What it finds holds for later runs, too, with
the variable and without.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnlib_backends.base import Array
from nnlib_backends.config import CUDNN_AUTOTUNE
from nnlib_backends.cupy_backend.cudnn.graphs import Problem, build, candidates, names
from nnlib_backends.cupy_backend.tuning_cache import TuningCache
from nnlib_backends.errors import CaptureError

__all__ = ["Planner"]

_CANDIDATES = 8  # that are measured: further down the list nothing wins
_REPEATS = 5


class Planner:
    """Plans and runs on one GPU.

    Parameters
    ----------
    cudnn : module
        The frontend.
    cupy : module
    device : cupy.cuda.Device
        The GPU.
    choices : TuningCache
        Plans that were measured to be fastest.
    """

    def __init__(self, cudnn: Any, cupy: Any, device: Any, choices: TuningCache) -> None:
        self._cudnn, self._cupy, self._device = cudnn, cupy, device
        self._choices = choices
        self._handle: Any = None
        self._plans: dict[Problem, Any] = {}
        self._lock = threading.Lock()  # a handle serves one thread at a time

    def run(self, problem: Problem, buffers: Mapping[int, Array]) -> bool:
        """Compute a problem; the arrays of its results are overwritten.

        Parameters
        ----------
        problem : Problem
        buffers : mapping
            Number of a tensor in the graph → array, laid out as the problem says.

        Returns
        -------
        bool
            False if cuDNN has no kernel for it, and nothing was done.

        Raises
        ------
        CaptureError
            If a CUDA graph is being captured, and the problem was never computed before.
        """
        with self._lock, self._device:
            stream = self._cupy.cuda.get_current_stream()
            if self._handle is None:
                self._handle = self._cudnn.create_handle()
            self._cudnn.set_stream(self._handle, stream.ptr)
            pointers = {uid: pointer(array) for uid, array in buffers.items()}
            if problem not in self._plans:
                if stream.is_capturing():
                    raise CaptureError(
                        "cuDNN's plans must be made before a graph is captured. Received: "
                        f"{problem}, which the recorded run did not have. Set precisions and "
                        "environment variables before the first call of a compiled function"
                    )
                self._plans[problem] = self._plan(problem, pointers)
            graph = self._plans[problem]
            if graph is None:
                return False
            self._execute(graph, pointers)
        return True

    def _plan(self, problem: Problem, pointers: dict[int, int]) -> Any:
        """Return a graph that is ready to execute, ``None`` if there can be none."""
        key = str(problem)
        name = self._choices.load(key)
        try:
            if name is None and CUDNN_AUTOTUNE.get() == "1":
                name = self._fastest(problem, pointers)
                name = (name and self._choices.store(key, name)) or name
            return build(self._cudnn, problem, name, handle=self._handle)
        except self._cudnn.cudnnGraphNotSupportedError:
            return None

    def _fastest(self, problem: Problem, pointers: dict[int, int]) -> str | None:
        """Measure the first candidates on the arrays themselves; results are overwritten."""
        graph = candidates(self._cudnn, problem, handle=self._handle)
        seconds: dict[str, float] = {}
        for i, name in enumerate(names(graph)):
            if len(seconds) == _CANDIDATES:
                break
            try:
                graph.build_plan_at_index(i)
                seconds[name] = self._measure(graph, pointers)
            except (self._cudnn.cudnnGraphNotSupportedError, RuntimeError, MemoryError):
                continue  # excluded, or without room for its workspace
        return min(seconds, key=seconds.__getitem__, default=None)

    def _measure(self, graph: Any, pointers: dict[int, int]) -> float:
        """Return the shortest of a few runs: what disturbs one only makes it longer."""
        self._execute(graph, pointers)  # the first run loads the kernel
        times = []
        for _ in range(_REPEATS):
            begin, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
            begin.record()
            self._execute(graph, pointers)
            end.record()
            end.synchronize()
            times.append(float(self._cupy.cuda.get_elapsed_time(begin, end)))
        return min(times)

    def _execute(self, graph: Any, pointers: dict[int, int]) -> None:
        workspace = self._cupy.empty((max(graph.get_workspace_size(), 1),), dtype=np.uint8)
        graph.execute(pointers, pointer(workspace), handle=self._handle)


def pointer(array: Array) -> int:
    """Return the address of an array's first element."""
    return int(array.data.ptr)
