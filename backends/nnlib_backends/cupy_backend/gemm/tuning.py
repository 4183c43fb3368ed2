"""Which of several algorithms is the fastest: measured once, then known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nnlib_backends.config import CUBLASLT_AUTOTUNE
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

__all__ = ["Clock", "CudaClock", "Tuner", "wanted"]

_REPETITIONS = 5
_MARGIN = 0.97  # of the first one's time: what is hardly faster is not worth a surprise


def wanted() -> bool:
    """Tell whether algorithms shall be measured: unless ``NNLIB_CUBLASLT_AUTOTUNE=0``."""
    return CUBLASLT_AUTOTUNE.get() != "0"


class Clock(Protocol):
    """The seam where a GPU's time is measured."""

    def ready(self) -> bool:
        """Tell whether it can be measured now: not while launches are only written down."""

    def seconds(self, run: Callable[[], object]) -> float:
        """Run something in the current stream, and return how long the GPU works on it."""


class Tuner:
    """Chooses among algorithms, and makes the same choice in every later run.

    Algorithms add up in different orders.  So a choice counts only if the next run will find it on
    disk: where it cannot be stored, and where nothing can be measured, it is the first algorithm,
    which the library's heuristic expects to be best.

    Parameters
    ----------
    choices : TuningCache
        For the library's version and the GPU.  An algorithm is its place among the proposals, which
        the heuristic makes in the same order every time.
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
        """Return the algorithm to use from now on.

        Parameters
        ----------
        problem : str
        algorithms : sequence
            At least one, the one that is expected to be best first.
        run : callable
            ``run(algorithm)`` computes the problem, as often as is needed, and returns something
            false if the algorithm cannot.
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
    """CUDA's events, by CuPy.

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
        """Wait for what is between two events, and return its time."""
        cuda = self._cupy.cuda
        with self._device:
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            run()
            end.record()
            end.synchronize()
        return float(cuda.get_elapsed_time(begin, end)) / 1000
