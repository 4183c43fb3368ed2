"""cuDNN's plans on one GPU: made once for each problem, and executed.

The plan of a problem is the one in the `TuningCache`, else the first one of cuDNN's heuristic.
``NNLIB_CUDNN_AUTOTUNE=1`` measures plans at the first computation of each problem and stores the
fastest one, which later runs use with or without the variable.
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

_CANDIDATES = 8  # number of plans to measure; later ones are not faster
_REPEATS = 5


class Planner:
    """Plans and executes problems on one GPU.

    Parameters
    ----------
    cudnn : module
        The frontend.
    cupy : module
    device : cupy.cuda.Device
    choices : TuningCache
        Names of the fastest plans.
    """

    def __init__(self, cudnn: Any, cupy: Any, device: Any, choices: TuningCache) -> None:
        self._cudnn, self._cupy, self._device = cudnn, cupy, device
        self._choices = choices
        self._handle: Any = None
        self._plans: dict[Problem, Any] = {}
        self._lock = threading.Lock()  # a handle serves one thread at a time

    def run(self, problem: Problem, buffers: Mapping[int, Array]) -> bool:
        """Compute a problem into the arrays of its results.

        Parameters
        ----------
        problem : Problem
        buffers : mapping
            Identifier of a tensor → array, with the layout in the problem.

        Returns
        -------
        bool
            False if cuDNN has no kernel for it.

        Raises
        ------
        CaptureError
            If a CUDA graph is being captured, and the problem has no plan yet.
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
                        f"{problem}, which the traced run did not have. Set precisions and "
                        "environment variables before the first call of a compiled function"
                    )
                self._plans[problem] = self._plan(problem, pointers)
            graph = self._plans[problem]
            if graph is None:
                return False
            self._execute(graph, pointers)
        return True

    def _plan(self, problem: Problem, pointers: dict[int, int]) -> Any:
        """Return a graph that is ready to execute; ``None`` if cuDNN has no kernel."""
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
        """Measure the first candidates, overwriting the results; return the name of the fastest."""
        graph = candidates(self._cudnn, problem, handle=self._handle)
        seconds: dict[str, float] = {}
        for i, name in enumerate(names(graph)):
            if len(seconds) == _CANDIDATES:
                break
            try:
                graph.build_plan_at_index(i)
                seconds[name] = self._measure(graph, pointers)
            except (self._cudnn.cudnnGraphNotSupportedError, RuntimeError, MemoryError):
                continue  # excluded, or its workspace does not fit
        return min(seconds, key=seconds.__getitem__, default=None)

    def _measure(self, graph: Any, pointers: dict[int, int]) -> float:
        """Return the shortest time of a few runs."""
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
