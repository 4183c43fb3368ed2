"""Running kernels: one launch, or many in a row, in one call from Python.

Numba's threads share the chunks of a launch, and BLAS runs on the calling thread only: OpenBLAS's
own pool would spin for some 30 ms after each GEMM and take the processor from Numba's (a step then
takes multiples of 8 ms).  The BLAS is SciPy's, which can be called without Python; its thread count
is restored after each call.  A forked child has no pool (`threads.alone`).
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
from array import array
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, get_num_threads, njit, prange, types
from numba.extending import get_cython_function_address, intrinsic

from nnlib_backends.locks import running
from nnlib_backends.numpy_backend import threads
from nnlib_backends.numpy_backend.codegen.arguments import call, pointer

__all__ = ["run", "sgemm_address"]


@intrinsic
def _get_threads(typingctx: Any, function: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        value = builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
        return builder.sext(value, ir.IntType(64))

    return types.intp(types.intp), codegen


@intrinsic
def _set_threads(typingctx: Any, function: Any, count: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
        count = builder.trunc(args[1], ir.IntType(32))
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [count])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


def _start_pool() -> None:
    """Start Numba's threads without fixing the start method of processes.

    Numba reads the start method, after which `multiprocessing.set_start_method` would fail.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    get_num_threads()
    if method is None:
        multiprocessing.set_start_method(None, force=True)


_start_pool()


@njit
def _call_chunk(kernel, table, items, chunks, chunk):
    """Call a kernel for one chunk of its items."""
    size = (items + chunks - 1) // chunks
    start = chunk * size
    stop = min(start + size, items)
    if start < stop:
        call(kernel, table, chunk, start, stop)


@njit("void(intp, intp, intp, intp, boolean)", parallel=True, nogil=True, cache=True)
def _run(address, count, get_threads, set_threads, alone):  # pragma: no cover
    """Call the kernels of a program, one row (address, table, items, chunks) after the other.

    On one thread (``alone``) the chunks, and so the results, are the same.
    """
    program = carray(pointer(address, np.int64), (count, 4))
    before = 0
    if get_threads != 0:
        before = _get_threads(get_threads)
        _set_threads(set_threads, 1)
    for i in range(count):
        kernel, table, items, chunks = program[i, 0], program[i, 1], program[i, 2], program[i, 3]
        if chunks <= 1:
            call(kernel, table, 0, 0, items)
        elif alone:
            for chunk in range(chunks):
                _call_chunk(kernel, table, items, chunks, chunk)
        else:
            for chunk in prange(chunks):
                _call_chunk(kernel, table, items, chunks, chunk)
    if get_threads != 0:
        _set_threads(set_threads, before)


def run(program: array[int]) -> None:
    """Run a program: rows of four words (kernel's address, table's address, items, chunks)."""
    address, words = program.buffer_info()
    # only one thread at a time may use Numba's work queue or change BLAS's thread count
    with running:
        _run(address, words // 4, _GET_THREADS, _SET_THREADS, threads.alone)


@functools.cache
def sgemm_address() -> int:
    """Return the address of SciPy's SGEMM."""
    return int(get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))


def _thread_functions() -> tuple[int, int]:
    """Return the addresses of the functions that get and set the thread count of SciPy's BLAS.

    ``(0, 0)`` for an unknown BLAS, whose thread count is not changed.
    """
    import scipy.linalg.cython_blas  # noqa: F401 - loads the library
    from threadpoolctl import ThreadpoolController

    affixes = [
        (f"{before}openblas_get_num_threads{after}", f"{before}openblas_set_num_threads{after}")
        for before in ("scipy_", "")
        for after in ("", "64_")
    ]
    names = [*affixes, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]
    # NumPy's OpenBLAS is another library
    found = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]
    found.sort(key=lambda c: "numpy.libs" in c.filepath)
    for controller in found:
        library = controller.dynlib
        for get_name, set_name in names:
            if hasattr(library, get_name) and hasattr(library, set_name):
                return _address_of(library, get_name), _address_of(library, set_name)
    return 0, 0


def _address_of(library: Any, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


_GET_THREADS, _SET_THREADS = _thread_functions()
