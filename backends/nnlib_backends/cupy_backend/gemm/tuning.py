"""Choice of the fastest algorithm: measured once, then read from the `TuningCache`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nnlib_backends.config import CUBLASLT_AUTOTUNE
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

__all__ = ["Clock", "CudaClock", "Tuner", "wanted"]

_REPETITIONS = 5
_MARGIN = 0.97  # an algorithm must take less than this share of the first one's time


def wanted() -> bool:
    """Tell whether to measure algorithms: unless ``NNLIB_CUBLASLT_AUTOTUNE=0``."""
    return CUBLASLT_AUTOTUNE.get() != "0"


class Clock(Protocol):
    """Measures times on a GPU."""

    def ready(self) -> bool:
        """Tell whether a time can be measured now: not during capture."""

    def seconds(self, run: Callable[[], object]) -> float:
        """Call a function and return the time of its work in the current stream."""


class Tuner:
    """Chooses among algorithms, with the same choice in every later run.

    Algorithms add up in different orders.  So a choice that cannot be measured or stored is always
    the first algorithm, the best one by the library's heuristic.

    Parameters
    ----------
    choices : TuningCache
        Positions of the chosen algorithms in the heuristic's list, whose order is fixed.
    clock : Clock

    Examples
    --------
    >>> import tempfile
    >>> class Fake:
    ...     def ready(self):
    ...         return True
    ...     def seconds(self, run):
    ...         return run()
    >>> folder = tempfile.TemporaryDirectory()
    >>> tuner = Tuner(TuningCache("example", "1", "GPU", folder.name), Fake())
    >>> tuner.choose("a problem", ["slow", "fast"], {"slow": 2.0, "fast": 1.0}.get)
    'fast'
    >>> tuner.choose("a problem", ["slow", "fast"], lambda algorithm: 1.0)  # it is known
    'fast'
    >>> folder.cleanup()
    """

    def __init__(self, choices: TuningCache, clock: Clock) -> None:
        self._choices, self._clock = choices, clock
        self._stored = True  # whether the last choice could be stored

    def choose(self, problem: str, algorithms: Sequence[Any], run: Callable[[Any], object]) -> Any:
        """Return the algorithm of a problem.

        Parameters
        ----------
        problem : str
        algorithms : sequence
            At least one, the best one by the heuristic first.
        run : callable
            ``run(algorithm)`` computes the problem; returns false if the algorithm cannot.
        """
        known = self._choices.load(problem)
        if known in range(len(algorithms)):
            return algorithms[known]
        if len(algorithms) == 1 or not (self._stored and self._clock.ready()):
            return algorithms[0]
        chosen = self._choices.store(problem, self._fastest(algorithms, run))
        self._stored = chosen is not None
        return algorithms[chosen if chosen in range(len(algorithms)) else 0]

    def _fastest(self, algorithms: Sequence[Any], run: Callable[[Any], object]) -> int:
        times = [math.inf] * len(algorithms)
        able = [i for i in range(len(algorithms)) if run(algorithms[i])]  # loads kernels, too
        for _ in range(_REPETITIONS):
            for i in able:
                seconds = self._clock.seconds(functools.partial(run, algorithms[i]))
                times[i] = min(times[i], seconds)
        times[0] *= _MARGIN
        return times.index(min(times))


class CudaClock:
    """A `Clock` by CUDA's events.

    Parameters
    ----------
    cupy : module
    device : cupy.cuda.Device
    """

    def __init__(self, cupy: Any, device: Any) -> None:
        self._cupy, self._device = cupy, device

    def ready(self) -> bool:
        """Tell whether no graph is being captured from the current stream."""
        return not self._cupy.cuda.get_current_stream().is_capturing()

    def seconds(self, run: Callable[[], object]) -> float:
        """Call a function between two events and return the time between them."""
        cuda = self._cupy.cuda
        with self._device:
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            run()
            end.record()
            end.synchronize()
        return float(cuda.get_elapsed_time(begin, end)) / 1000
