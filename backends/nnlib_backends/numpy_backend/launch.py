"""Calling kernels from Python: memory, arguments, threads.

Kernels are started as on a GPU.  What runs in Python, once for each operation, only looks at
shapes, takes memory with `empty` and calls `launch`; all arithmetic is in the launched kernels,
which write into arrays that they are given.  That is what makes a step recordable: a recording is
the list of launches, and a replay does them again on memory that was planned once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from nnlib_backends.numpy_backend.native.abi import NativeKernel

__all__ = ["Argument", "Array", "dense", "empty", "launch", "split", "thread_count"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Argument: TypeAlias = "Array | int | float | None"

WORDS = 8  # of the table, for each argument; see native/abi.py


def empty(shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return memory for a kernel's result or workspace."""
    return np.empty(shape, dtype)


def launch(kernel: NativeKernel, *args: Argument, items: int, chunks: int = 1) -> None:
    """Run a kernel on ``items`` items, divided evenly among ``chunks`` threads.

    Parameters
    ----------
    kernel : NativeKernel
    args : arrays (C-contiguous), int, float or None
        What it finds in its table, in this order.
    items, chunks : int
        The kernel is called for each chunk with its number and its range of items.
    """
    if items > 0:
        from nnlib_backends.numpy_backend.native import program

        table = make_table(args)
        program.run(np.array([[kernel.address, table.ctypes.data, items, chunks]], np.int64))


def make_table(args: tuple[Argument, ...]) -> Array:
    """Write arguments down as a kernel reads them."""
    table = np.zeros(WORDS * len(args), np.int64)
    for place, value in zip(range(0, table.size, WORDS), args, strict=True):
        if isinstance(value, np.ndarray):
            if not value.flags.c_contiguous:
                raise ValueError(f"kernels take C-contiguous arrays, not strides {value.strides}")
            table[place] = value.__array_interface__["data"][0]
            table[place + 1 : place + 1 + value.ndim] = value.shape
            table[place + 7] = value.size
        elif isinstance(value, float):
            table[place : place + 1].view(np.float64)[0] = value
        elif value is not None:
            table[place] = value
    return table


def split(items: int, least: int = 1) -> int:
    """Into how many chunks to divide items, so that each has at least ``least`` of them.

    Choose ``least`` so that a chunk takes 10 µs or more: starting a thread costs about 2.
    """
    return max(1, min(thread_count(), items // max(least, 1)))


@functools.cache
def thread_count() -> int:
    """How many threads compute: ``NNLIB_NUM_THREADS``, or the usable cores."""
    wanted = os.environ.get("NNLIB_NUM_THREADS", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(wanted)) if wanted.isdigit() else usable or 1


def dense(x: Array) -> Array:
    """Return an array as kernels take it: itself if C-contiguous, else a copy."""
    if x.flags.c_contiguous:
        return x
    copy = empty(x.shape, x.dtype)
    call(np.copyto, copy, x)
    return copy


def call(function: Callable[..., Any], *args: Any) -> None:
    """Call a Python function that writes its results into arrays among its arguments."""
    function(*args)
