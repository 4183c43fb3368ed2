"""How a kernel gets its arguments, and how it is compiled.

A kernel names its arguments, and annotations say what each may be; a launch passes them in this
order, and is refused where one is something else::

    @kernel
    def scale(chunk, start, stop, x: Vector, y: Vector, factor: float):
        x, y = x[start:stop], y[start:stop]
        for i in range(x.size):          # a loop over a slice: LLVM sees no wrap-around, and
            y[i] = x[i] * factor         # vectorises it

A `Nullable` array may be None (`is_given`); a named tuple of integers takes one for each field.

What is compiled has one signature for all kernels, so that one compiled loop (`program.run`) can
call any of them, a thousand in a row, without Python in between.  It reads the arguments from a
table of 64-bit words, eight for each: an array's address, its shape and its size, or a number.
Arrays are C-contiguous.  Absent ones have the address 0.  An array of more than six axes has its
shape left out, so it can only be read as one axis.
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
    "Parameter",
    "Quad",
    "Vector",
    "address",
    "call",
    "element",
    "gemm",
    "gemm_in_parts",
    "is_given",
    "kernel",
    "kernels",
    "pointer",
    "view",
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


# What kernels declare -----------------------------------------------------------------------------

f4, f8, i8, u1 = np.float32, np.float64, np.int64, np.uint8


class Parameter(NamedTuple):
    """An argument that a kernel declares: what it may be, and how it is read from the table.

    Attributes
    ----------
    name : str
    what : str
        What it must be, for an error.
    dtypes : tuple of dtype
        Of an array; none for a number.
    axes : int
        Of an array; 0 where it is read as one axis, whatever its shape.
    others : tuple of type
        Of values that are no arrays.
    """

    name: str
    what: str
    dtypes: tuple[np.dtype[Any], ...] = ()
    axes: int = 0
    others: tuple[type, ...] = ()

    def read(self, row: int) -> str:
        """Source of an expression that reads it from the table, from the word ``row`` on."""
        if not self.dtypes:
            return f"{'load_float' if float in self.others else 'load_word'}(t + {8 * row})"
        first, last = (row + 1, row + self.axes) if self.axes else (row + WORDS - 1,) * 2
        shape = "".join(f"load_word(t + {8 * word}), " for word in range(first, last + 1))
        return f"carray(pointer(load_word(t + {8 * row}), {self.dtypes[0].name}), ({shape}))"


def _array(axes: int, *dtypes: type) -> Parameter:
    kinds = tuple(np.dtype(dtype) for dtype in dtypes)
    what = f"an array of {' or '.join(kind.name for kind in kinds)}"
    return Parameter("", f"{what} with {axes} axes" if axes else what, kinds, axes)


Vector: TypeAlias = Annotated[Any, _array(0, f4)]  #: float32, as one axis whatever its shape
Matrix: TypeAlias = Annotated[Any, _array(2, f4)]  #: float32 with two axes
Cube: TypeAlias = Annotated[Any, _array(3, f4)]  #: float32 with three axes
Quad: TypeAlias = Annotated[Any, _array(4, f4)]  #: float32 with four axes
Integers: TypeAlias = Annotated[Any, _array(0, i8)]  #: int64, as one axis
Doubles: TypeAlias = Annotated[Any, _array(0, f8)]  #: float64, as one axis
Bytes: TypeAlias = Annotated[Any, _array(0, u1, np.bool_)]  #: uint8 or bool, as one axis

T = TypeVar("T")
Nullable: TypeAlias = Annotated[T, "or None"]  #: an array that may be absent: see `is_given`

_INTEGER = Parameter("", "an integer", others=(int, np.integer))
_NUMBERS = {int: _INTEGER, float: Parameter("", "a float", others=(float,))}


def _declared(name: str, hint: Any) -> tuple[Parameter, ...]:
    """Return what a kernel's parameter takes from the table: one argument, or a tuple's."""
    if hasattr(hint, "_fields"):
        return tuple(_INTEGER._replace(name=f"{name}.{field}") for field in hint._fields)
    if hint in _NUMBERS:
        return (_NUMBERS[hint]._replace(name=name),)
    parameter, *null = hint.__metadata__
    if null:
        parameter = parameter._replace(what=f"{parameter.what} or None", others=(type(None),))
    return (parameter._replace(name=name),)


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

    def __init__(self, function: Callable[..., None]) -> None:
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

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What a launch passes, in this order."""
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
        """Make the function that is compiled: it reads the table and goes on as the kernel.

        Numba puts the kernel's instructions in place of the call, and finds the machine code in its
        cache by the name, the file and the line, which are the kernel's.
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


def kernel(function: Callable[..., None]) -> CpuKernel:
    """Make a kernel of a function ``f(chunk, start, stop, …)`` (a decorator)."""
    made = CpuKernel(function)
    if made.name in kernels:
        raise ValueError(f"there are two kernels of the name {made.name}")
    kernels[made.name] = made
    return made


# Reading, inside kernels -------------------------------------------------------------------------


@intrinsic
def pointer(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Make an address a pointer to numbers of a type."""
    kind = types.CPointer(dtype.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.intp, dtype), codegen


@intrinsic
def load_word(typingctx: Any, place: Any) -> Any:
    """The 64-bit word at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.intp(types.intp), codegen


@intrinsic
def load_float(typingctx: Any, place: Any) -> Any:
    """The float64 number at an address, as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = builder.load(builder.inttoptr(args[0], ir.DoubleType().as_pointer()))
        return builder.fptrunc(number, ir.FloatType())

    return types.float32(types.intp), codegen


def element(context: Any, builder: Any, kind: Any, x: Any, index: Any) -> Any:
    """Emit a pointer to an element of an array, counted along all of its axes."""
    return builder.gep(context.make_array(kind)(context, builder, x).data, [index])


@intrinsic
def address(typingctx: Any, x: Any, first: Any) -> Any:
    """The address of element ``first`` of an array, counted along all of its axes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = element(context, builder, signature.args[0], *args)
        return builder.ptrtoint(place, ir.IntType(64))

    return types.intp(x, types.intp), codegen


@njit
def is_given(x):
    """Whether a `Nullable` argument is an array, not None."""
    return address(x, 0) != 0


@njit
def view(x, first, shape):
    """The elements of an array from ``first`` on, counted along all axes, in another shape."""
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
