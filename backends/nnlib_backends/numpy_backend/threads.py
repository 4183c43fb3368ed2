"""Whether the pool of threads that CPU kernels run on is there."""

from __future__ import annotations

import os
import sys

__all__ = ["alone"]

#: Whether to compute without other threads.  Numba's are not there in a forked child, and GNU's
#: OpenMP ends a child that asks for them.
alone = False


def _stay_alone() -> None:
    global alone
    alone = alone or "numba" in sys.modules


if hasattr(os, "register_at_fork"):  # else there is no fork
    os.register_at_fork(after_in_child=_stay_alone)
