"""How a kernel gets its arguments, and how it is compiled.

All kernels have one signature, so that one compiled loop (`program.run`) can call any of them, a
thousand in a row, without Python in between::

    @kernel
    def scale(t, chunk, start, stop):
        x, y, factor = vector(t, 0)[start:stop], vector(t, 1)[start:stop], number(t, 2)
        for i in range(x.size):          # a loop over a slice: LLVM sees no wrap-around, and
            y[i] = x[i] * factor         # vectorises it

``t`` is the address of a table of 64-bit words, eight for each argument: an array's address, its
shape and its size, or a number.  Arrays are C-contiguous.  Absent ones have the address 0.  An
array of more than six axes has its shape left out, so it can only be read as one axis (`vector`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic

from nnlib_backends import update_scalars
from nnlib_backends.locks import preparing
from nnlib_backends.numpy_backend.launch import WORDS

__all__ = [
    "BLAS_INTEGER", "WORDS", "CpuKernel", "address", "at", "bytes1", "call", "cube", "doubles",
    "gemm", "gemm_in_parts", "integer", "integers", "is_absent", "kernel", "kernels", "matrix",
    "number", "pointer", "quad", "vector", "words",
]  # fmt: skip

SIGNATURE = types.void(types.intp, types.intp, types.intp, types.intp)

# Sums may be reordered (or they would not be vectorised) and a * b + c may be one instruction.
# Nothing else: NaN and infinity must stay what they are.
FASTMATH = {"reassoc", "contract", "nsz"}

OPTIONS: dict[str, Any] = {
    "nopython": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "boundscheck": bool(os.environ.get("NUMBA_BOUNDSCHECK")),
}


class CpuKernel:
    """A kernel, compiled (or loaded from Numba's cache) when its address is first asked for.

    Attributes
    ----------
    name : str
    address : int
        Where the machine code is.
    seconds : float
        What that took, 0.0 before.
    from_cache : bool
        Whether it was loaded.
    """

    def __init__(self, function: Callable[[Any, int, int, int], None]) -> None:
        self.function = function
        self.name = function.__name__
        self.seconds = 0.0
        self.from_cache = False

    def __getattr__(self, name: str) -> int:
        """Compile when ``address`` is asked for and is not there; later it is an attribute."""
        if name != "address":
            raise AttributeError(f"a kernel has no attribute {name!r}")
        with preparing:
            if "address" not in vars(self):  # else another thread was first; its code must stay
                self._compile()
        return self.address

    def _compile(self) -> None:
        begin = time.perf_counter()
        self._compiled = CFunc(self.function, normalize_signature(SIGNATURE), {}, OPTIONS)
        self._compiled.enable_caching()
        _key_on_all_sources(self._compiled)
        self._compiled.compile()
        self.from_cache = bool(self._compiled.cache_hits)
        self.seconds = time.perf_counter() - begin
        self.address = int(self._compiled.address or 0)

    def __repr__(self) -> str:
        return f"<nnlib kernel {self.name}>"


def _key_on_all_sources(compiled: Any) -> None:
    """Have the cached machine code count as old when any file that kernels are made of has changed.

    Numba looks at the kernel's own file only, not at those whose functions and numbers it uses.
    """
    folder = Path(__file__).parents[1]
    used = [Path(update_scalars.__file__)]
    for name in ("codegen", "kernels"):
        used += (folder / name).rglob("*.py")
    files = [path.stat() for path in used]
    stamp = (max(file.st_mtime for file in files), sum(file.st_size for file in files))
    index: Any = getattr(compiled._cache, "_cache_file", None)
    if hasattr(index, "_source_stamp"):  # else another version of Numba: as it does by itself
        index._source_stamp = stamp


kernels: dict[str, CpuKernel] = {}  #: all kernels by name


def kernel(function: Callable[[Any, int, int, int], None]) -> CpuKernel:
    """Make a kernel of a function (a decorator)."""
    made = CpuKernel(function)
    if made.name in kernels:
        raise ValueError(f"there are two kernels of the name {made.name}")
    kernels[made.name] = made
    return made


# Reading the table, inside kernels -------------------------------------------------------------


@intrinsic
def _word(typingctx: Any, table: Any, index: Any) -> Any:
    """The 64-bit word at a place of the table."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(base, [args[1]]))

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def pointer(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Make an address a pointer to numbers of a type."""
    kind = types.CPointer(dtype.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.intp, dtype), codegen


f4, f8, i8, u4, u1 = np.float32, np.float64, np.int64, np.uint32, np.uint8


@intrinsic
def integer(typingctx: Any, t: Any, k: Any) -> Any:
    """Argument ``k``, an integer."""  # a function would be compiled again for each ``k``

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(base, [builder.mul(args[1], ir.IntType(64)(WORDS))]))

    return types.intp(types.intp, types.intp), codegen


address = integer  #: of array ``k``: the same word


@njit
def number(t, k):
    """Argument ``k``, a float, as float32."""
    return f4(carray(pointer(t + 64 * k, f8), (1,))[0])


@njit
def is_absent(t, k):
    """Whether argument ``k`` is None."""
    return _word(t, 8 * k) == 0


@njit
def vector(t, k):
    """Argument ``k``, float32, as one axis whatever its shape."""
    return carray(pointer(_word(t, 8 * k), f4), (_word(t, 8 * k + 7),))


@njit
def matrix(t, k):
    """Argument ``k``, float32 with two axes."""
    return carray(pointer(_word(t, 8 * k), f4), (_word(t, 8 * k + 1), _word(t, 8 * k + 2)))


@njit
def cube(t, k):
    """Argument ``k``, float32 with three axes."""
    shape = (_word(t, 8 * k + 1), _word(t, 8 * k + 2), _word(t, 8 * k + 3))
    return carray(pointer(_word(t, 8 * k), f4), shape)


@njit
def quad(t, k):
    """Argument ``k``, float32 with four axes."""
    shape = (_word(t, 8 * k + 1), _word(t, 8 * k + 2), _word(t, 8 * k + 3), _word(t, 8 * k + 4))
    return carray(pointer(_word(t, 8 * k), f4), shape)


@njit
def integers(t, k):
    """Argument ``k``, int64, as one axis."""
    return carray(pointer(_word(t, 8 * k), i8), (_word(t, 8 * k + 7),))


@njit
def doubles(t, k):
    """Argument ``k``, float64, as one axis."""
    return carray(pointer(_word(t, 8 * k), f8), (_word(t, 8 * k + 7),))


@njit
def words(t, k):
    """Argument ``k``, uint32, as one axis."""
    return carray(pointer(_word(t, 8 * k), u4), (_word(t, 8 * k + 7),))


@njit
def bytes1(t, k):
    """Argument ``k``, uint8 or bool, as one axis."""
    return carray(pointer(_word(t, 8 * k), u1), (_word(t, 8 * k + 7),))


@njit
def at(address, size):
    """``size`` float32 numbers at an address."""
    return carray(pointer(address, f4), (size,))


# Calling -----------------------------------------------------------------------------------------


@intrinsic
def call(typingctx: Any, address: Any, t: Any, chunk: Any, start: Any, stop: Any) -> Any:
    """Call the kernel at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 4)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), codegen


BLAS_INTEGER = 2**31 - 1  #: the largest size that BLAS takes

_INT, _FLOAT, _CHAR = ir.IntType(32), ir.FloatType(), ir.IntType(8)


@intrinsic
def _sgemm(
    typingctx: Any, blas: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any,
    lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """BLAS's SGEMM at an address: column-major, every argument by reference, 32-bit integers.

    Integers that are too long for it lose their upper bits: call `gemm`.
    """
    ints = [types.intp]
    arguments = [*ints * 6, types.float32, *ints * 4, types.float32, *ints * 2]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        any_pointer = _CHAR.as_pointer()

        def reference(value: Any, kind: Any) -> Any:
            slot = cgutils.alloca_once(builder, kind)
            builder.store(value if kind is _FLOAT else builder.trunc(value, kind), slot)
            return builder.bitcast(slot, any_pointer)

        kinds = [_CHAR, _CHAR, _INT, _INT, _INT, _FLOAT, None, _INT, None, _INT, _FLOAT, None, _INT]
        values = [
            builder.inttoptr(value, any_pointer) if kind is None else reference(value, kind)
            for value, kind in zip(args[1:], kinds, strict=True)
        ]
        function = ir.FunctionType(ir.VoidType(), [any_pointer] * len(values)).as_pointer()
        builder.call(builder.inttoptr(args[0], function), values)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@njit
def gemm(blas, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """Row-major ``C = op(A) op(B) + beta C`` on this thread alone.

    ``blas`` is `program.sgemm_address()`, ``ta`` and ``tb`` say whether A and B are transposed
    (A is stored (k, m), B (n, k)), ``a, b, c`` are addresses (`address`, or
    ``array.ctypes.data``), ``lda, ldb, ldc`` the lengths of a stored row.
    """
    gemm_in_parts(BLAS_INTEGER, blas, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc)


@njit
def gemm_in_parts(limit, blas, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """`gemm`, in parts of which no size and no length of a row is above ``limit``."""
    rows, columns, depth = limit, limit, limit
    # where the stored rows of a matrix are too long, each is a part: their distance is not needed
    if lda > limit:
        if ta:
            depth = 1
        else:
            rows = 1
    if ldb > limit:
        if tb:
            columns = 1
        else:
            depth = 1
    if ldc > limit:
        rows = 1
    for i in range(0, m, rows):
        for j in range(0, n, columns):
            for p in range(0, max(k, 1), depth):
                _sgemm(
                    blas, 84 if tb else 78, 84 if ta else 78,
                    min(n - j, columns), min(m - i, rows), min(k - p, depth), f4(1.0),
                    b + 4 * (j * ldb + p if tb else p * ldb + j), max(min(ldb, limit), 1),
                    a + 4 * (p * lda + i if ta else i * lda + p), max(min(lda, limit), 1),
                    f4(beta) if p == 0 else f4(1.0), c + 4 * (i * ldc + j), min(ldc, limit),
                )  # fmt: skip
