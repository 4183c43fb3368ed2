"""The threads of CPU kernels: how many there are, and that a forked child has only one."""

from __future__ import annotations

import functools
import os
import sys

from nnlib_backends.config import NUM_THREADS
from nnlib_backends.errors import BackendError

__all__ = ["alone", "thread_count"]

#: Whether to compute on one thread.  A forked child has none of Numba's threads, and GNU's OpenMP
#: aborts a child that uses them.
alone = False


def _stay_alone() -> None:
    global alone
    alone = alone or "numba" in sys.modules


if hasattr(os, "register_at_fork"):  # else there is no fork
    os.register_at_fork(after_in_child=_stay_alone)


@functools.cache
def thread_count() -> int:
    """Number of threads of the kernels: ``NNLIB_NUM_THREADS``, or the usable cores.

    Raises
    ------
    BackendError
        If the variable is not a positive integer.
    """
    value = NUM_THREADS.get()
    if value:
        if not value.isdigit() or int(value) == 0:
            raise BackendError(
                f"{NUM_THREADS.name} must be a positive integer. Received: {value!r}"
            )
        return int(value)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1
