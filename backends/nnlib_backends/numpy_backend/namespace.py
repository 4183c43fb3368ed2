"""`Backend.xp` of the NumPy backend: NumPy's functions, and those that NumPy lacks."""

from typing import Any

import numpy as np
from numpy import *  # noqa: F403
from numpy import abs, all, any, max, min, pow, round, sum  # noqa: F401 - hidden from "import *"
from numpy.lib.stride_tricks import sliding_window_view  # noqa: F401

from nnlib_backends.dtypes import is_half
from nnlib_backends.locks import finished_before_fork

# A child that is forked during a matrix product would wait for ever for OpenBLAS's lock.
dot = finished_before_fork(np.dot)  # type: ignore[assignment]
matmul = finished_before_fork(np.matmul)  # type: ignore[assignment]
vdot = finished_before_fork(np.vdot)  # type: ignore[assignment]


def clip(x: Any, low: Any, high: Any, out: Any = None) -> Any:  # type: ignore[no-redef]
    """Limit to an interval and keep the dtype; NumPy returns float32 for bfloat16."""
    result = np.clip(x, low, high, out)
    return result.astype(x.dtype, copy=False) if is_half(x) else result


def erf(x: Any) -> Any:
    """Error function, elementwise."""
    from scipy import special

    return special.erf(x)


def ndtr(x: Any) -> Any:
    """Distribution function of the standard normal distribution, exact in both tails."""
    from scipy import special

    near = special.ndtr(x)  # float32 is computed in float64
    if near.dtype != np.float64:
        return near
    # e^(−x²/2) from x² in two exact parts: of a rounded x² it would lose digits for large x
    size = np.minimum(np.abs(x), 40.0)
    upper = size.astype(np.float32).astype(np.float64)
    lower = (size - upper) * (size + upper)
    bell = np.exp(-0.5 * upper * upper) * np.exp(-0.5 * lower)
    tail = 0.5 * special.erfcx(size * 0.5**0.5) * bell
    return np.where(size < 1, near, np.where(x < 0, tail, 1 - tail))
