"""Timing.

The device is synchronised before every clock reading, so that queued work is not counted as done.
A device with its own clock (CUDA events) also measures how long it was busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from nnlib_benchmarks.records import Timing

T = TypeVar("T")


class Clock(Protocol):
    """Interface of a backend for timing."""

    def synchronize(self) -> None:
        """Wait until the device is idle."""

    def timer(self) -> Any:
        """Return a stopwatch with ``start()``, ``stop()`` and ``seconds()``."""


@dataclass
class Stopwatch:
    """Collects samples on one device.

    Parameters
    ----------
    clock : Clock
        A backend.
    device_clock : bool
        Whether to read the device's own clock too.

    Examples
    --------
    >>> import nnlib
    >>> with nnlib.use_backend("numpy") as backend:
    ...     watch = Stopwatch(backend)
    ...     for _ in range(3):
    ...         _ = watch.measure(lambda: None)
    >>> len(watch.timing().samples)
    3
    """

    clock: Clock
    device_clock: bool = False
    wall: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    calls: int = 1

    def measure(self, action: Callable[[], object]) -> float:
        """Run `action` (`calls` times) between two clock readings; return seconds for one call."""
        timer = self.clock.timer() if self.device_clock else None
        self.clock.synchronize()
        begin = time.perf_counter_ns()
        if timer is not None:
            timer.start()
        for _ in range(self.calls):
            action()
        if timer is not None:
            timer.stop()
        self.clock.synchronize()
        seconds = (time.perf_counter_ns() - begin) / 1e9 / self.calls
        seconds = round(seconds, 12)  # the clock has no more digits
        self.wall.append(seconds)
        if timer is not None:
            self.device.append(timer.seconds() / self.calls)
        return seconds

    def calibrate(self, action: Callable[[], object], least: float) -> float:
        """Choose `calls` so that one sample lasts at least `least` seconds; return one call's time.

        Shorter trials are dropped; a first call that is long enough is kept as a sample.
        """
        self.calls = 1
        seconds = self.measure(action)
        if seconds < least:
            seconds = min(seconds, self.measure(action))
            self.calls = max(1, round(least / max(seconds, 1e-9)))
            self.wall.clear()
            self.device.clear()
        return seconds

    def timing(self) -> Timing:
        """Summarise the samples."""
        device = list(self.device) if self.device_clock else None
        return Timing.from_samples(list(self.wall), device, self.calls)


def interleave(contestants: Sequence[T], rounds: int) -> Iterator[T]:
    """Yield contestants in turns: A B A B, never A A B B.

    A machine that warms up, throttles or gets busy during the run then slows all of them equally.

    Examples
    --------
    >>> list(interleave(["numpy", "cupy"], 2))
    ['numpy', 'cupy', 'numpy', 'cupy']
    """
    for _ in range(rounds):
        yield from contestants


def affordable(seconds_each: float, budget: float, least: int, most: int) -> int:
    """Number of repetitions that fit into a time budget, within limits.

    Examples
    --------
    >>> affordable(0.5, budget=10, least=3, most=100)
    20
    >>> affordable(60, budget=10, least=3, most=100)
    3
    """
    return int(min(most, max(least, budget // max(seconds_each, 1e-9))))
