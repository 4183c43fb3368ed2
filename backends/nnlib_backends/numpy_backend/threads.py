"""Whether CPU kernels must compute without their pool of threads: in a forked child."""

from __future__ import annotations

import os
import sys

__all__ = ["alone"]

#: Whether to compute on one thread.  A forked child has none of Numba's threads, and GNU's OpenMP
#: aborts a child that uses them.
alone = False


def _stay_alone() -> None:
    global alone
    alone = alone or "numba" in sys.modules


if hasattr(os, "register_at_fork"):  # else there is no fork
    os.register_at_fork(after_in_child=_stay_alone)
