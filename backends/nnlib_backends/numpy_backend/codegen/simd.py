"""Vectors of the processor's own width inside kernels.

Numba leaves vectorising to LLVM, which gives up where a loop reads and writes many arrays that it
cannot tell apart: a Winograd transform reads six rows and writes six.  Here a vector is a type, so
that such code says what it means::

    a, b = load(p), load(q)                 # LANES numbers from an address
    store(r, a * splat(f4(2.0)) + b)        # one multiply-add
    store_some(r, a, 3)                     # the first three only

Addresses are in bytes, and need no alignment.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import config
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

__all__ = [
    "BYTES", "LANES", "REGISTERS", "Vector", "absolute", "larger", "load", "load_some",
    "power_of_two", "relu", "splat", "store", "store_some", "transpose", "where_different",
    "where_less", "where_same", "with_sign_of",
]  # fmt: skip


def _features() -> str:
    """Return the processor's features, or those that Numba was told to use."""
    return str(config.CPU_FEATURES or binding.get_host_cpu_features().flatten())


def _width() -> tuple[int, int]:
    """Floats in a vector register, and how many registers there are."""
    features = _features()
    if "+avx512f" in features:
        return 16, 32
    if "+avx" in features:
        return 8, 16
    arm = binding.get_process_triple().startswith(("aarch64", "arm64"))
    return 4, 32 if arm else 16


LANES, REGISTERS = _width()
BYTES = 4 * LANES  #: of a vector

FLOAT, LONG, BYTE = ir.FloatType(), ir.IntType(64), ir.IntType(8)
VECTOR = ir.VectorType(FLOAT, LANES)
CONTRACT = ("contract", "nsz")  # a * b + c may be one instruction
UNDEFINED = ir.Constant(VECTOR, ir.Undefined)


class _VectorType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


Vector = _VectorType()  #: the Numba type


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, VECTOR)


def vector_at(builder: Any, address: Any) -> Any:
    """Pointer to a vector at an address (for code that emits LLVM IR)."""
    return builder.inttoptr(address, VECTOR.as_pointer())


def spread(builder: Any, number: Any) -> Any:
    """A vector of equal numbers (for code that emits LLVM IR)."""
    single = builder.insert_element(UNDEFINED, number, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(single, UNDEFINED, lanes)


def _operator(function: Any, emit: Any) -> None:
    @infer_global(function)
    class _Template(ConcreteTemplate):  # type: ignore[misc]
        cases = [signature(Vector, Vector, Vector)]  # noqa: RUF012 - Numba reads it so

    @lower_builtin(function, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, emit)(*args, flags=CONTRACT)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def load(typingctx: Any, address: Any) -> Any:
    """`LANES` numbers from an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(vector_at(builder, args[0]), align=4)

    return Vector(types.intp), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Write a vector to an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], vector_at(builder, args[0]), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, Vector), codegen


def _first(builder: Any, count: Any) -> Any:
    """Mask of the first lanes."""
    longs = ir.VectorType(LONG, LANES)
    single = builder.insert_element(ir.Constant(longs, ir.Undefined), count, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    many = builder.shuffle_vector(single, ir.Constant(longs, ir.Undefined), zeros)
    return builder.icmp_signed("<", ir.Constant(longs, list(range(LANES))), many)


MASK = ir.VectorType(ir.IntType(1), LANES)


def _masked(builder: Any, name: str, result: Any, arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    name = f"llvm.masked.{name}.v{LANES}f32.p0"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def load_first(builder: Any, address: Any, count: Any) -> Any:
    """Emit `load_some`."""
    zeros = ir.Constant(VECTOR, [0.0] * LANES)
    pointer, mask = vector_at(builder, address), _first(builder, count)
    return _masked(builder, "load", VECTOR, [pointer, ir.IntType(32)(4), mask, zeros])


@intrinsic
def load_some(typingctx: Any, address: Any, count: Any) -> Any:
    """The first ``count`` numbers from an address, then zeros; what lies behind is not touched."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load_first(builder, *args)

    return Vector(types.intp, types.intp), codegen


@intrinsic
def store_some(typingctx: Any, address: Any, value: Any, count: Any) -> Any:
    """Write the first ``count`` numbers of a vector; what lies behind is not touched."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, mask = vector_at(builder, args[0]), _first(builder, args[2])
        _masked(builder, "store", ir.VoidType(), [args[1], pointer, ir.IntType(32)(4), mask])
        return context.get_dummy_value()

    return types.void(types.intp, Vector, types.intp), codegen


@intrinsic
def splat(typingctx: Any, number: Any) -> Any:
    """A vector of equal numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0])

    return Vector(types.float32), codegen


def _bits(builder: Any, *values: Any) -> tuple[Any, list[Any]]:
    """Vectors of floats as vectors of integers, and the mask of all bits but the sign."""
    ints = ir.VectorType(ir.IntType(32), LANES)
    mask = ir.Constant(ints, [0x7FFFFFFF] * LANES)
    return mask, [builder.bitcast(value, ints) for value in values]


@intrinsic
def absolute(typingctx: Any, value: Any) -> Any:
    """Without the sign."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask, (bits,) = _bits(builder, *args)
        return builder.bitcast(builder.and_(bits, mask), VECTOR)

    return Vector(Vector), codegen


@intrinsic
def with_sign_of(typingctx: Any, size: Any, value: Any) -> Any:
    """Numbers that are not negative, with the signs of others: also of −0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask, (size, value) = _bits(builder, *args)
        bits = builder.or_(size, builder.and_(value, builder.not_(mask)))
        return builder.bitcast(bits, VECTOR)

    return Vector(Vector, Vector), codegen


@intrinsic
def relu(typingctx: Any, value: Any) -> Any:
    """``0 if v <= 0 else v``: NaN stays NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered("<=", args[0], zeros), zeros, args[0])

    return Vector(Vector), codegen


def _same(builder: Any, a: Any, b: Any) -> Any:
    """Mask of the lanes that are equal, or both NaN."""
    nans = [builder.fcmp_unordered("uno", x, x) for x in (a, b)]
    return builder.or_(builder.fcmp_ordered("==", a, b), builder.and_(*nans))


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of two; NaN if one is."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = args
        nan = builder.fcmp_unordered("uno", b, b)
        return builder.select(builder.or_(builder.fcmp_ordered(">", b, a), nan), b, a)

    return Vector(Vector, Vector), codegen


@intrinsic
def power_of_two(typingctx: Any, rounded: Any) -> Any:
    """2ⁿ for n + 1.5 · 2²³, -126 ≤ n ≤ 127: n goes to where a float has its exponent."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ints = ir.VectorType(ir.IntType(32), LANES)
        bits = builder.shl(builder.bitcast(args[0], ints), ir.Constant(ints, [23] * LANES))
        bits = builder.add(bits, ir.Constant(ints, [127 << 23] * LANES))
        return builder.bitcast(bits, VECTOR)

    return Vector(Vector), codegen


@intrinsic
def where_less(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """``yes`` where a is less than b, else ``no``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return Vector(Vector, Vector, Vector, Vector), codegen


@intrinsic
def where_same(typingctx: Any, a: Any, b: Any, value: Any) -> Any:
    """``value`` where a and b are equal (or both NaN), else 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        return builder.select(_same(builder, args[0], args[1]), args[2], zeros)

    return Vector(Vector, Vector, Vector), codegen


@intrinsic
def where_different(typingctx: Any, a: Any, b: Any, value: Any) -> Any:
    """``value`` where `where_same` gives 0, and 0 where it gives ``value``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        return builder.select(_same(builder, args[0], args[1]), zeros, args[2])

    return Vector(Vector, Vector, Vector), codegen


@intrinsic
def transpose(typingctx: Any, source: Any, source_row: Any, target: Any, target_row: Any) -> Any:
    """Copy a matrix of `LANES` × `LANES` numbers, its rows becoming columns."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, source_row, target, target_row = args
        rows = [
            builder.load(
                vector_at(builder, builder.add(source, builder.mul(source_row, LONG(i)))), align=4
            )
            for i in range(LANES)
        ]
        step = 1
        while step < LANES:  # exchange the off-diagonal halves of ever larger blocks
            for i in range(LANES):
                if not i & step:
                    rows[i], rows[i | step] = _exchange(builder, rows[i], rows[i | step], step)
            step *= 2
        for i, row in enumerate(rows):
            address = builder.add(target, builder.mul(target_row, LONG(i)))
            builder.store(row, vector_at(builder, address), align=4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), codegen


def _exchange(builder: Any, a: Any, b: Any, step: int) -> tuple[Any, Any]:
    """Exchange a's lanes that have the bit ``step`` with b's that have not."""
    lanes = np.arange(LANES)
    upper = (lanes & step) != 0
    first = np.where(upper, LANES + lanes - step, lanes)
    second = np.where(upper, LANES + lanes, lanes + step)

    def pick(order: Any) -> Any:
        kind = ir.VectorType(ir.IntType(32), LANES)
        return builder.shuffle_vector(a, b, ir.Constant(kind, [int(i) for i in order]))

    return pick(first), pick(second)
