"""The handwritten digits of `nnlib.data.digits` in two shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnlib import data
from nnlib_benchmarks.workloads.base import Samples

SCALE = 1 / 16  #: pixels are 0 … 16


def flat_digits() -> tuple[Samples, Samples]:
    """Training and test digits as rows of 64 pixels."""
    train, test = data.digits(raw=True)
    return tuple(  # type: ignore[return-value]
        Samples(part.arrays[0].reshape(-1, 64), part.arrays[1], SCALE) for part in (train, test)
    )


def large_digits() -> tuple[Samples, Samples]:
    """Training and test digits enlarged to 28×28: each pixel 3×3, a margin of 2."""
    train, test = data.digits(raw=True)
    return tuple(  # type: ignore[return-value]
        Samples(enlarge(part.arrays[0]), part.arrays[1], SCALE) for part in (train, test)
    )


def enlarge(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enlarge (N, 8, 8, 1) to (N, 28, 28, 1).

    Examples
    --------
    >>> enlarge(np.ones((2, 8, 8, 1), np.uint8)).shape
    (2, 28, 28, 1)
    """
    thrice = images.repeat(3, axis=1).repeat(3, axis=2)  # (N, 24, 24, 1)
    return np.pad(thrice, ((0, 0), (2, 2), (2, 2), (0, 0)))
