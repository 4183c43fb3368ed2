"""Calling kernels from Python: memory, arguments, threads.

Kernels are started as on a GPU.  What runs in Python, once for each operation, only looks at
shapes, takes memory with `empty` and calls `launch`; all arithmetic is in the launched kernels,
which write into arrays that they are given.  That is what makes a step recordable: a recording is
the list of launches, and a replay does them again on memory that was planned once.
"""

from __future__ import annotations

import functools
import os
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nnlib_backends.config import NUM_THREADS
from nnlib_backends.errors import BackendError
from nnlib_backends.numpy_backend.codegen import AXES, WORDS

if TYPE_CHECKING:
    from nnlib_backends.numpy_backend.codegen.arguments import CpuKernel
    from nnlib_backends.numpy_backend.tracer import NumpyTracer

__all__ = ["Argument", "Array", "all_dense", "dense", "empty", "launch", "split", "thread_count"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Argument: TypeAlias = "Array | int | float | None"

program: ContextVar[NumpyTracer | None] = ContextVar("nnlib_numpy_recorder", default=None)
_recorder = program.get


@contextmanager
def unrecorded() -> Iterator[None]:
    """Compute something that belongs to no step."""
    token = program.set(None)
    try:
        yield
    finally:
        program.reset(token)


_REST = [[0] * (AXES - axes) for axes in range(AXES + 1)]  # of a row, behind the shape
_ZEROS = [0] * (WORDS - 1)
_AS_FLOAT, _AS_INTEGER = struct.Struct("d"), struct.Struct("q")


def empty(shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return memory for a kernel's result or workspace."""
    memory = np.empty(shape, dtype)
    tracer = _recorder()
    if tracer is not None:
        tracer.trace.add_buffer(memory)
    return memory


def launch(kernel: CpuKernel, *args: Argument, items: int, chunks: int = 1) -> None:
    """Run a kernel on ``items`` items, divided evenly among ``chunks`` threads.

    Parameters
    ----------
    kernel : CpuKernel
    args : arrays (C-contiguous), int, float or None
        What it finds in its table, in this order.
    items, chunks : int
        The kernel is called for each chunk with its number and its range of items.
    """
    if items > 0:
        # Not `from … import`, which calls a function of Python's import system every time.
        import nnlib_backends.numpy_backend.codegen.dispatch as program

        table = make_table(args, kernel)
        program.run(array("q", (kernel.address, table.buffer_info()[0], items, chunks)))
        tracer = _recorder()
        if tracer is not None:
            tracer.trace.add_call(kernel, args, {}, items=items, chunks=chunks)


def make_table(args: Sequence[Argument], kernel: CpuKernel) -> array[int]:
    """Write arguments down as a kernel reads them.

    Raises
    ------
    ValueError
        If there are not as many as the kernel declares, one is not what it declares, or an array
        is not C-contiguous.
    """
    parameters = kernel.parameters
    if len(args) != len(parameters):
        raise ValueError(f"{kernel} takes {len(parameters)} arguments. Received: {len(args)}")
    table: list[int] = []
    for value, (name, what, dtypes, axes, others) in zip(args, parameters, strict=True):
        if isinstance(value, np.ndarray):
            if value.dtype not in dtypes or axes not in (0, value.ndim):
                received = f"{value.dtype} of shape {value.shape}"
                raise ValueError(f"{name} of {kernel} must be {what}. Received: {received}")
            if not value.flags.c_contiguous:
                raise ValueError(f"kernels take C-contiguous arrays, not strides {value.strides}")
            shape = value.shape if value.ndim <= AXES else ()
            table.append(value.__array_interface__["data"][0])
            table.extend(shape)
            table.extend(_REST[len(shape)])
            table.append(value.size)
        else:
            if not isinstance(value, others):
                raise ValueError(f"{name} of {kernel} must be {what}. Received: {value!r}")
            if isinstance(value, float):
                (value,) = _AS_INTEGER.unpack(_AS_FLOAT.pack(value))
            table.append(value or 0)
            table.extend(_ZEROS)
    return array("q", table)


def make_program(rows: Sequence[tuple[CpuKernel, array[int], int, int]]) -> array[int]:
    """Write launches (kernel, table, items, chunks) down as `native.program.run` reads them."""
    words: list[int] = []
    for kernel, table, items, chunks in rows:
        words += (kernel.address, table.buffer_info()[0], items, chunks)
    return array("q", words)


def split(items: int, least: int = 1) -> int:
    """Into how many chunks to divide items, so that each has at least ``least`` of them.

    Choose ``least`` so that a chunk takes 10 µs or more: starting a thread costs about 2.
    """
    return max(1, min(thread_count(), items // max(least, 1)))


@functools.cache
def thread_count() -> int:
    """How many threads compute: ``NNLIB_NUM_THREADS``, or the usable cores.

    Raises
    ------
    BackendError
        If that variable is not a positive integer.
    """
    wanted = NUM_THREADS.get()
    if wanted:
        if not wanted.isdigit() or int(wanted) == 0:
            raise BackendError(
                f"{NUM_THREADS.name} must be a positive integer. Received: {wanted!r}"
            )
        return int(wanted)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


def dense(x: Array) -> Array:
    """Return an array as kernels take it: itself if C-contiguous, else a copy."""
    if x.flags.c_contiguous:
        return x
    copy = empty(x.shape, x.dtype)
    call(np.copyto, copy, x)
    return copy


def all_dense(*arrays: Array | None) -> list[Any]:
    """Return several arrays as kernels take them, see `dense`; ``None`` stays."""
    result = list(arrays)
    for i, x in enumerate(arrays):
        if x is not None and not x.flags.c_contiguous:
            result[i] = dense(x)
    return result


def call(function: Callable[..., Any], *args: Any) -> None:
    """Call a Python function that writes its results into arrays among its arguments."""
    tracer = _recorder()
    if tracer is None:
        function(*args)
    else:
        tracer.call(function, *args)
