"""Arguments and compilation of kernels.

A kernel declares its arguments by annotations; a launch passes them in this order, and raises an
error if one has another type::

    @kernel
    def scale(chunk, start, stop, x: Vector, y: Vector, factor: float):
        x, y = x[start:stop], y[start:stop]
        for i in range(x.size):          # a loop over a slice: LLVM sees no wrap-around, and
            y[i] = x[i] * factor         # vectorises it

A `Nullable` array may be None (`is_given`); a named tuple of integers takes one for each field.

All compiled kernels have one signature, so that one compiled loop (`dispatch.run`) can call any of
them without Python in between.  A kernel reads its arguments from a table of 64-bit words, eight
for each: an array's address, its shape and its size, or a number.  Arrays are C-contiguous; None
has the address 0.  An array of more than six axes is read as one axis.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, get_type_hints

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic

from nnlib_backends import update_scalars
from nnlib_backends.locks import preparing
from nnlib_backends.numpy_backend.codegen import WORDS

__all__ = [
    "BLAS_INTEGER",
    "WORDS",
    "Bytes",
    "CpuKernel",
    "Cube",
    "Doubles",
    "Integers",
    "Matrix",
    "Nullable",
    "Quad",
    "Vector",
    "address",
    "call",
    "gemm",
    "gemm_in_parts",
    "is_given",
    "kernel",
    "kernels",
    "place",
    "pointer",
    "view",
]  # fmt: skip

SIGNATURE = types.void(types.intp, types.intp, types.intp, types.intp)

# Sums may be reordered, so that they are vectorised, and a * b + c may be one instruction; nothing
# else, because NaN and infinity must keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz"}

OPTIONS: dict[str, Any] = {
    "nopython": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "boundscheck": bool(os.environ.get("NUMBA_BOUNDSCHECK")),
}


# Declarations -------------------------------------------------------------------------------------

f4, f8, i8, u1 = np.float32, np.float64, np.int64, np.uint8


class Parameter(NamedTuple):
    """A kernel's parameter: its type, and how to read it from the table.

    Attributes
    ----------
    name : str
    what : str
        Description of the type, for errors.
    dtypes : tuple of dtype
        Dtypes of an array; empty for a number.
    axes : int
        Number of axes of an array; 0 if it is read as one axis.
    others : tuple of type
        Types of other values.
    """

    name: str
    what: str
    dtypes: tuple[np.dtype[Any], ...] = ()
    axes: int = 0
    others: tuple[type, ...] = ()

    def read(self, row: int) -> str:
        """Return source code that reads the argument, from the word ``row`` of the table on."""
        if not self.dtypes:
            return f"{'load_float' if float in self.others else 'load_word'}(t + {8 * row})"
        first, last = (row + 1, row + self.axes) if self.axes else (row + WORDS - 1,) * 2
        shape = "".join(f"load_word(t + {8 * word}), " for word in range(first, last + 1))
        return f"carray(pointer(load_word(t + {8 * row}), {self.dtypes[0].name}), ({shape}))"


def _array(axes: int, *dtypes: type) -> Parameter:
    kinds = tuple(np.dtype(dtype) for dtype in dtypes)
    what = f"an array of {' or '.join(kind.name for kind in kinds)}"
    return Parameter("", f"{what} with {axes} axes" if axes else what, kinds, axes)


Vector: TypeAlias = Annotated[Any, _array(0, f4)]  #: float32, read as one axis
Matrix: TypeAlias = Annotated[Any, _array(2, f4)]  #: float32 with two axes
Cube: TypeAlias = Annotated[Any, _array(3, f4)]  #: float32 with three axes
Quad: TypeAlias = Annotated[Any, _array(4, f4)]  #: float32 with four axes
Integers: TypeAlias = Annotated[Any, _array(0, i8)]  #: int64, read as one axis
Doubles: TypeAlias = Annotated[Any, _array(0, f8)]  #: float64, read as one axis
Bytes: TypeAlias = Annotated[Any, _array(0, u1, np.bool_)]  #: uint8 or bool, read as one axis

T = TypeVar("T")
Nullable: TypeAlias = Annotated[T, "or None"]  #: an array that may be absent: see `is_given`

_INTEGER = Parameter("", "an integer", others=(int, np.integer))
_NUMBERS = {int: _INTEGER, float: Parameter("", "a float", others=(float,))}


def _declared(name: str, hint: Any) -> tuple[Parameter, ...]:
    """Return the table's arguments of an annotated parameter: one, or a tuple's fields."""
    if hasattr(hint, "_fields"):
        return tuple(_INTEGER._replace(name=f"{name}.{field}") for field in hint._fields)
    if hint in _NUMBERS:
        return (_NUMBERS[hint]._replace(name=name),)
    parameter, *null = hint.__metadata__
    if null:
        parameter = parameter._replace(what=f"{parameter.what} or None", others=(type(None),))
    return (parameter._replace(name=name),)


class CpuKernel:
    """A kernel, compiled (or loaded from Numba's cache) at the first use of its address.

    Attributes
    ----------
    name : str
    address : int
        Of the machine code.
    seconds : float
        Time of compilation or loading, 0.0 before.
    from_cache : bool
        Whether it was loaded from the cache.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.name = function.__name__
        self.seconds = 0.0
        self.from_cache = False

    def __getattr__(self, name: str) -> int:
        """Compile at the first use of ``address``, which is an attribute from then on."""
        if name != "address":
            raise AttributeError(f"a kernel has no attribute {name!r}")
        with preparing:
            if "address" not in vars(self):  # else another thread has compiled
                self._compile()
        return self.address

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Arguments of a launch, in order."""
        hints = get_type_hints(self.function, include_extras=True).items()
        declared = [_declared(name, hint) for name, hint in hints]
        return tuple(itertools.chain.from_iterable(declared))

    def _compile(self) -> None:
        begin = time.perf_counter()
        self._compiled = CFunc(self._entry(), normalize_signature(SIGNATURE), {}, OPTIONS)
        self._compiled.enable_caching()
        _key_on_all_sources(self._compiled)
        self._compiled.compile()
        self.from_cache = bool(self._compiled.cache_hits)
        self.seconds = time.perf_counter() - begin
        self.address = int(self._compiled.address or 0)

    def _entry(self) -> Any:
        """Make the function to compile, which reads the table and calls the kernel.

        Numba inlines the call.  Its cache is keyed by the name, file and line of the kernel.
        """
        names: dict[str, Any] = {
            "kernel": njit(self.function, inline="always"), "carray": carray, "pointer": pointer,
            "load_word": load_word, "load_float": load_float, "float32": f4, "float64": f8,
            "int64": i8, "uint8": u1,
        }  # fmt: skip
        reads = (parameter.read(WORDS * k) for k, parameter in enumerate(self.parameters))
        values = ["chunk", "start", "stop"]
        for hint in get_type_hints(self.function).values():
            if fields := len(getattr(hint, "_fields", ())):
                names[hint.__name__] = hint
                values.append(f"{hint.__name__}({', '.join(itertools.islice(reads, fields))})")
            else:
                values.append(next(reads))
        code = self.function.__code__
        source = f"def entry(t, chunk, start, stop): kernel({', '.join(values)})"
        lines = "\n" * (code.co_firstlineno - 1)
        exec(compile(lines + source, code.co_filename, "exec"), names)
        entry = names["entry"]
        entry.__name__, entry.__qualname__ = self.function.__name__, self.function.__qualname__
        entry.__module__ = self.function.__module__
        return entry

    def __repr__(self) -> str:
        return f"<nnlib kernel {self.name}>"


def _key_on_all_sources(compiled: Any) -> None:
    """Make Numba's cache depend on all files of kernels, not on the kernel's own file only."""
    folder = Path(__file__).parents[1]
    used = [Path(update_scalars.__file__)]
    for name in ("codegen", "kernels"):
        used += (folder / name).rglob("*.py")
    files = [path.stat() for path in used]
    stamp = (max(file.st_mtime for file in files), sum(file.st_size for file in files))
    index: Any = getattr(compiled._cache, "_cache_file", None)
    if hasattr(index, "_source_stamp"):  # else another version of Numba, with its default key
        index._source_stamp = stamp


kernels: dict[str, CpuKernel] = {}  #: all kernels by name


def kernel(function: Callable[..., None]) -> CpuKernel:
    """Decorate a function ``f(chunk, start, stop, …)`` as a kernel."""
    made = CpuKernel(function)
    if made.name in kernels:
        raise ValueError(f"there are two kernels of the name {made.name}")
    kernels[made.name] = made
    return made


# Reading, inside kernels -------------------------------------------------------------------------


@intrinsic
def pointer(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Convert an address to a pointer to numbers of a type."""
    kind = types.CPointer(dtype.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.intp, dtype), codegen


@intrinsic
def load_word(typingctx: Any, place: Any) -> Any:
    """Return the 64-bit word at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.intp(types.intp), codegen


@intrinsic
def load_float(typingctx: Any, place: Any) -> Any:
    """Return the float64 number at an address, as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = builder.load(builder.inttoptr(args[0], ir.DoubleType().as_pointer()))
        return builder.fptrunc(number, ir.FloatType())

    return types.float32(types.intp), codegen


def place(context: Any, builder: Any, kind: Any, x: Any, index: Any) -> Any:
    """Emit the address of an element of an array, or of float32 numbers at an address.

    As an integer: from a pointer LLVM would know more, and make calls of memset of short loops.
    """
    word, size = ir.IntType(64), 4
    if isinstance(kind, types.Array):
        size = kind.dtype.bitwidth // 8
        x = builder.ptrtoint(context.make_array(kind)(context, builder, x).data, word)
    return builder.add(x, builder.mul(index, word(size)))


@intrinsic
def address(typingctx: Any, x: Any, first: Any) -> Any:
    """The address of element ``first`` of an array, counted along all axes.

    Or of float32 numbers at an address: `address` and the functions of `vectors` take either.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return place(context, builder, signature.args[0], *args)

    return types.intp(x, types.intp), codegen


@njit
def is_given(x):
    """Return whether a `Nullable` argument is an array."""
    return address(x, 0) != 0


@njit
def view(x, first, shape):
    """Return the elements of an array from ``first`` on, counted along all axes, in a shape."""
    return carray(pointer(address(x, first), x.dtype), shape)


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

    Larger integers lose their upper bits: call `gemm`.
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
    """Row-major ``C = op(A) op(B) + beta C`` on this thread.

    ``blas`` is `dispatch.sgemm_address()`, ``ta`` and ``tb``: whether A and B are transposed (A is
    stored (k, m), B (n, k)), ``a, b, c`` are addresses (`address`, or ``array.ctypes.data``),
    ``lda, ldb, ldc`` the lengths of a stored row.
    """
    gemm_in_parts(BLAS_INTEGER, blas, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc)


@njit
def gemm_in_parts(limit, blas, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """`gemm`, in parts of which no size and no length of a row is above ``limit``."""
    rows, columns, depth = limit, limit, limit
    # where the stored rows of a matrix are too long, each is a part, which needs no row length
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
