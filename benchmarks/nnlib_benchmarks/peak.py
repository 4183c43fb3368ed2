"""The best matmul rate of a backend, of which other rates are shares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import nnlib
from nnlib.random import Generator
from nnlib_benchmarks.records import Peak
from nnlib_benchmarks.timing import Stopwatch

SIZES = {"cpu": (512, 1024, 2048), "gpu": (1024, 2048, 4096, 8192)}
QUICK_SIZES = {"cpu": (512, 1024), "gpu": (1024, 4096)}
REPETITIONS = 5


def matmul_sizes(kind: str, quick: bool) -> tuple[int, ...]:
    """Return the n of the n×n products that are timed on a kind of device.

    Examples
    --------
    >>> matmul_sizes("cpu", quick=True)
    (512, 1024)
    """
    return (QUICK_SIZES if quick else SIZES)["gpu" if kind == "gpu" else "cpu"]


def measure_peak(backend: str, sizes: Sequence[int]) -> Peak:
    """Time square float32 products and keep the fastest of each size.

    The minimum of the times is used, not the median: a peak is the rate without disturbance.

    Examples
    --------
    >>> measure_peak("numpy", [64]).size
    64
    """
    rates = {}
    with nnlib.use_backend(backend) as device, nnlib.no_grad():
        for n in sizes:
            generator = Generator(n)
            a, b = (nnlib.tensor(generator.uniform((n, n), -1, 1)) for _ in range(2))
            multiply = partial(nnlib.matmul, a, b)
            watch = Stopwatch(device)
            watch.calibrate(multiply, least=2e-3)
            for _ in range(REPETITIONS):
                watch.measure(multiply)
            rates[str(n)] = 2 * n**3 / min(watch.wall)
    best = max(rates, key=lambda n: rates[n])
    return Peak(rates[best], int(best), rates)
