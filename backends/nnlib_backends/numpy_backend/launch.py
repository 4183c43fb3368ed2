"""Launching CPU kernels from Python: memory, arguments, threads.

The Python part of an operation reads shapes, allocates memory by `empty` and calls `launch`; all
arithmetic is in the kernels, which write into arrays among their arguments.  So a program is a list
of launches over planned memory.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nnlib_backends.numpy_backend.codegen import AXES, WORDS
from nnlib_backends.numpy_backend.threads import thread_count

if TYPE_CHECKING:
    from nnlib_backends.numpy_backend.codegen.arguments import CpuKernel
    from nnlib_backends.numpy_backend.tracer import NumpyTracer

__all__ = ["Argument", "Array", "all_dense", "dense", "empty", "launch", "split", "thread_count"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Argument: TypeAlias = "Array | int | float | None"

current_tracer: ContextVar[NumpyTracer | None] = ContextVar("nnlib_numpy_tracer", default=None)
_tracer = current_tracer.get


@contextmanager
def untraced() -> Iterator[None]:
    """Compute without tracing."""
    token = current_tracer.set(None)
    try:
        yield
    finally:
        current_tracer.reset(token)


_PADDING = [[0] * (AXES - axes) for axes in range(AXES + 1)]  # number of axes → rest of the shape
_ZEROS = [0] * (WORDS - 1)
_AS_FLOAT, _AS_INTEGER = struct.Struct("d"), struct.Struct("q")


def empty(shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Allocate memory for a kernel's result or workspace."""
    memory = np.empty(shape, dtype)
    tracer = _tracer()
    if tracer is not None:
        tracer.trace.add_buffer(memory)
    return memory


def launch(kernel: CpuKernel, *args: Argument, items: int, chunks: int = 1) -> None:
    """Run a kernel on ``items`` items, divided evenly among ``chunks`` threads.

    Parameters
    ----------
    kernel : CpuKernel
    args : arrays (C-contiguous), int, float or None
        In the order of `CpuKernel.parameters`.
    items, chunks : int
        The kernel is called once for each chunk, with its number and its range of items.
    """
    if items > 0:
        # not `from … import`, which takes longer each time
        import nnlib_backends.numpy_backend.codegen.dispatch as dispatch

        table = make_table(args, kernel)
        dispatch.run(array("q", (kernel.address, table.buffer_info()[0], items, chunks)))
        tracer = _tracer()
        if tracer is not None:
            tracer.trace.add_call(kernel, args, {}, items=items, chunks=chunks)


def make_table(args: Sequence[Argument], kernel: CpuKernel) -> array[int]:
    """Return the table of arguments that a kernel reads.

    Raises
    ------
    ValueError
        If the arguments do not match the kernel's parameters, or an array is not C-contiguous.
    """
    parameters = kernel.parameters
    if len(args) != len(parameters):
        raise ValueError(f"{kernel} takes {len(parameters)} arguments. Received: {len(args)}")
    table: list[int] = []
    for value, (name, what, dtypes, axes, others) in zip(args, parameters, strict=False):
        if isinstance(value, np.ndarray):
            shape, seen = value.shape, value.__array_interface__
            if value.dtype not in dtypes or (axes and axes != len(shape)):
                received = f"{value.dtype} of shape {shape}"
                raise ValueError(f"{name} of {kernel} must be {what}. Received: {received}")
            if seen["strides"] is not None:
                raise ValueError(f"kernels take C-contiguous arrays, not strides {value.strides}")
            if len(shape) > AXES:
                shape = ()
            table.append(seen["data"][0])
            table.extend(shape)
            table.extend(_PADDING[len(shape)])
            table.append(value.size)
        elif not isinstance(value, others):
            raise ValueError(f"{name} of {kernel} must be {what}. Received: {value!r}")
        else:
            if isinstance(value, float):
                (value,) = _AS_INTEGER.unpack(_AS_FLOAT.pack(value))
            table.append(value or 0)
            table.extend(_ZEROS)
    return array("q", table)


def make_program(rows: Sequence[tuple[CpuKernel, array[int], int, int]]) -> array[int]:
    """Return launches (kernel, table, items, chunks) in the form that `dispatch.run` takes."""
    words: list[int] = []
    for kernel, table, items, chunks in rows:
        words += (kernel.address, table.buffer_info()[0], items, chunks)
    return array("q", words)


def split(items: int, least: int = 1) -> int:
    """Return a number of chunks, each of at least ``least`` items.

    A chunk should take 10 µs or more, because starting a thread takes about 2.
    """
    return max(1, min(thread_count(), items // max(least, 1)))


def dense(x: Array) -> Array:
    """Return a C-contiguous array: the array itself, or a copy."""
    if x.flags.c_contiguous:
        return x
    copy = empty(x.shape, x.dtype)
    call(np.copyto, copy, x)
    return copy


def all_dense(*arrays: Array | None) -> list[Any]:
    """Return several arrays C-contiguous, see `dense`; ``None`` stays."""
    result = list(arrays)
    for i, x in enumerate(arrays):
        if x is not None and not x.flags.c_contiguous:
            result[i] = dense(x)
    return result


def call(function: Callable[..., Any], *args: Any) -> None:
    """Call a Python function that writes its results into arrays among its arguments."""
    tracer = _tracer()
    if tracer is None:
        function(*args)
    else:
        tracer.call(function, *args)
