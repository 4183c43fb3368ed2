"""NumPy's names, and the few that NumPy lacks."""

from typing import Any

import numpy
from numpy import *  # noqa: F403
from numpy import abs, all, any, max, min, pow, round, sum  # noqa: F401 - hidden from "import *"
from numpy.lib.stride_tricks import sliding_window_view  # noqa: F401

from nnlib_backends.locks import finished_before_fork

# A child that is forked in the middle of a product would wait for ever for OpenBLAS's lock.
dot = finished_before_fork(numpy.dot)  # type: ignore[assignment]
matmul = finished_before_fork(numpy.matmul)  # type: ignore[assignment]
vdot = finished_before_fork(numpy.vdot)  # type: ignore[assignment]


def erf(x: Any) -> Any:
    """Error function, elementwise; scipy's, since NumPy has none."""
    from scipy import special

    return special.erf(x)
