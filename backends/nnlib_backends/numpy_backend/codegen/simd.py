"""Vectors of the processor's own width inside kernels.

LLVM does not vectorise loops over many arrays that may alias, such as a Winograd transform, which
reads six rows and writes six.  Here a vector is a type::

    a, b = load(x, i), load(y, j)              # LANES numbers of an array, from index i on
    store(out, k, a * f4(2.0) + b)             # one multiply-add
    store_some(out, k, a, 3)                   # the first three only

Indices count along all axes of an array and need no alignment.
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

from nnlib_backends.numpy_backend.codegen.arguments import place

__all__ = [
    "LANES", "REGISTERS", "Vector", "larger", "load", "load_some", "relu", "splat", "store",
    "store_some", "transpose", "where_different", "where_same",
]  # fmt: skip


def _features() -> str:
    """Return the processor's features, or those in Numba's configuration."""
    return str(config.CPU_FEATURES or binding.get_host_cpu_features().flatten())


def _width() -> tuple[int, int]:
    """Return the number of floats in a vector register, and the number of registers."""
    features = _features()
    if "+avx512f" in features:
        return 16, 32
    if "+avx" in features:
        return 8, 16
    arm = binding.get_process_triple().startswith(("aarch64", "arm64"))
    return 4, 32 if arm else 16


LANES, REGISTERS = _width()

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


def vector_at(context: Any, builder: Any, kind: Any, x: Any, index: Any) -> Any:
    """Emit a pointer to a vector, from an element of an array on."""
    return builder.inttoptr(place(context, builder, kind, x, index), VECTOR.as_pointer())


def spread(builder: Any, number: Any) -> Any:
    """Emit a vector of equal numbers."""
    single = builder.insert_element(UNDEFINED, number, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(single, UNDEFINED, lanes)


def _operator(function: Any, emit: Any) -> None:
    operands = [(Vector, Vector), (Vector, types.float32), (types.float32, Vector)]

    @infer_global(function)
    class _Template(ConcreteTemplate):  # type: ignore[misc]
        cases = [signature(Vector, *pair) for pair in operands]  # noqa: RUF012 - Numba reads it so

    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = [spread(builder, arg) if arg.type == FLOAT else arg for arg in args]
        return getattr(builder, emit)(*values, flags=CONTRACT)

    for pair in operands:
        lower_builtin(function, *pair)(_lower)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


def _unary(function: Any, emit: Any) -> None:
    @infer_global(function)
    class _Template(ConcreteTemplate):  # type: ignore[misc]
        cases = [signature(Vector, Vector)]  # noqa: RUF012

    @lower_builtin(function, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, args[0])


def _absolute(builder: Any, value: Any) -> Any:
    ints = ir.VectorType(ir.IntType(32), LANES)
    mask = ir.Constant(ints, [0x7FFFFFFF] * LANES)
    return builder.bitcast(builder.and_(builder.bitcast(value, ints), mask), VECTOR)


_unary(operator.neg, lambda builder, value: builder.fneg(value))
_unary(abs, _absolute)


@intrinsic
def load(typingctx: Any, x: Any, index: Any) -> Any:
    """Return `LANES` numbers of an array, from an index on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(vector_at(context, builder, signature.args[0], *args), align=4)

    return Vector(x, types.intp), codegen


@intrinsic
def store(typingctx: Any, x: Any, index: Any, value: Any) -> Any:
    """Write a vector into an array, from an index on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], vector_at(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(x, types.intp, Vector), codegen


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


def load_first(builder: Any, source: Any, count: Any) -> Any:
    """Emit `load_some`, from a pointer."""
    zeros = ir.Constant(VECTOR, [0.0] * LANES)
    mask = _first(builder, count)
    return _masked(builder, "load", VECTOR, [source, ir.IntType(32)(4), mask, zeros])


@intrinsic
def load_some(typingctx: Any, x: Any, index: Any, count: Any) -> Any:
    """Return ``count`` numbers of an array, then zeros; does not read beyond them."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load_first(
            builder, vector_at(context, builder, signature.args[0], *args[:2]), args[2]
        )

    return Vector(x, types.intp, types.intp), codegen


@intrinsic
def store_some(typingctx: Any, x: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the first ``count`` numbers of a vector; does not write beyond them."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = vector_at(context, builder, signature.args[0], *args[:2])
        mask = _first(builder, args[3])
        _masked(builder, "store", ir.VoidType(), [args[2], target, ir.IntType(32)(4), mask])
        return context.get_dummy_value()

    return types.void(x, types.intp, Vector, types.intp), codegen


@intrinsic
def splat(typingctx: Any, number: Any) -> Any:
    """Return a vector of equal numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0])

    return Vector(types.float32), codegen


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
def transpose(
    typingctx: Any, source: Any, first: Any, row: Any, target: Any, to: Any, target_row: Any
) -> Any:
    """Copy the transpose of a matrix of `LANES` × `LANES` numbers.

    It begins at element ``first`` of an array, and is written from element ``to`` of another on.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, first, source_row, target, to, target_row = args
        kinds = signature.args[0], signature.args[3]
        rows = []
        for i in range(LANES):
            index = builder.add(first, builder.mul(source_row, LONG(i)))
            rows.append(builder.load(vector_at(context, builder, kinds[0], source, index), align=4))
        step = 1
        while step < LANES:  # exchange the off-diagonal halves of ever larger blocks
            for i in range(LANES):
                if not i & step:
                    rows[i], rows[i | step] = _exchange(builder, rows[i], rows[i | step], step)
            step *= 2
        for i, row in enumerate(rows):
            index = builder.add(to, builder.mul(target_row, LONG(i)))
            builder.store(row, vector_at(context, builder, kinds[1], target, index), align=4)
        return context.get_dummy_value()

    words = types.intp, types.intp
    return types.void(source, *words, target, *words), codegen


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
