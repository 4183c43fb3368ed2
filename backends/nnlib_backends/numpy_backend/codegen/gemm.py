"""Products of small matrices in the layouts that convolutions have them in.

BLAS copies ("packs") both factors before it multiplies.  A convolution writes its factors itself,
right in the order of multiplication, and its products are often too small to pay for a copy.  So
this is only BLAS's innermost part: a block of the result stays in registers while

    ``C[i, j] += A[i, p] · B[p, j]``

runs over ``p``, one number of A at a time times two vectors of a row of B.  A is addressed by two
strides, and ``p`` may run over several pieces whose places come from a table (the taps of a
convolution, read where they are in the image).  Measured on one Zen 4 core: 112 GFLOP/s for 24 × 64
times 64 × 32, 116 for longer sums, of 118 possible.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from nnlib_backends.locks import once
from nnlib_backends.numpy_backend.codegen.simd import (
    BYTES,
    CONTRACT,
    FLOAT,
    LANES,
    LONG,
    REGISTERS,
    VECTOR,
    spread,
    vector_at,
)

__all__ = ["PANEL", "PANEL_BYTES", "multiply", "multiply_address"]

PANEL = 2 * LANES  #: columns of C that are computed together
PANEL_BYTES = 2 * BYTES
TALL = 12 if REGISTERS == 32 else 6  # rows of C in registers, beside two vectors of B and one of A

ARGUMENTS = 14


def _block(builder: Any, rows: int, vectors: int, args: Any) -> None:
    """Emit code for a block of the result of so many rows and vectors."""
    a, a_row, a_step, a_pieces, b, b_step, b_pieces, pieces, length, c, c_row, add = args
    places = [
        [
            vector_at(
                builder, builder.add(builder.add(c, builder.mul(c_row, LONG(i))), LONG(j * BYTES))
            )
            for j in range(vectors)
        ]
        for i in range(rows)
    ]
    # LLVM turns these slots into registers
    sums = [[cgutils.alloca_once(builder, VECTOR) for _ in row] for row in places]
    every = [(i, j) for i in range(rows) for j in range(vectors)]
    with builder.if_else(builder.icmp_signed("!=", add, LONG(0))) as (then, otherwise):
        with then:
            for i, j in every:
                builder.store(builder.load(places[i][j], align=4), sums[i][j])
        with otherwise:
            for i, j in every:
                builder.store(ir.Constant(VECTOR, [0.0] * LANES), sums[i][j])
    with cgutils.for_range(builder, pieces) as piece:
        p = _piece(builder, a, a_pieces, piece.index)
        q = _piece(builder, b, b_pieces, piece.index)
        with cgutils.for_range(builder, length):
            _multiply_add(builder, p, a_row, q, sums)
            builder.store(builder.gep(builder.load(p), [a_step]), p)
            builder.store(builder.gep(builder.load(q), [b_step]), q)
    for i, j in every:
        builder.store(builder.load(sums[i][j]), places[i][j], align=4)


def _piece(builder: Any, base: Any, table: Any, index: Any) -> Any:
    """A slot with the place where a piece of A or B begins."""
    entry = builder.inttoptr(builder.add(table, builder.mul(index, LONG(8))), LONG.as_pointer())
    place = builder.add(base, builder.load(entry))
    return cgutils.alloca_once_value(builder, builder.inttoptr(place, cgutils.voidptr_t))


def _multiply_add(builder: Any, p: Any, a_row: Any, q: Any, sums: Any) -> None:
    """Emit one step of ``p``: every number of A's column times every vector of B's row."""
    start, row = builder.load(p), builder.load(q)
    vectors = []
    for j in range(len(sums[0])):
        place = builder.gep(row, [LONG(j * BYTES)])
        vectors.append(builder.load(builder.bitcast(place, VECTOR.as_pointer()), align=4))
    for i, slots in enumerate(sums):
        place = builder.gep(start, [builder.mul(a_row, LONG(i))])
        number = builder.load(builder.bitcast(place, FLOAT.as_pointer()), align=4)
        factor = spread(builder, number)
        for slot, vector in zip(slots, vectors, strict=True):
            product = builder.fmul(factor, vector, flags=CONTRACT)
            builder.store(builder.fadd(product, builder.load(slot), flags=CONTRACT), slot)


@intrinsic
def _blocks(
    typingctx: Any, rows: Any, vectors: Any, a: Any, a_row: Any, a_step: Any, a_pieces: Any,
    b: Any, b_step: Any, b_pieces: Any, pieces: Any, length: Any, c: Any, c_row: Any, add: Any,
) -> Any:  # fmt: skip
    """A block of ``rows`` rows, 1 to TALL, and one or two ``vectors``: code for each case."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        case = builder.add(builder.mul(args[0], LONG(2)), args[1])
        behind = builder.append_basic_block("behind")
        switch = builder.switch(case, behind)
        for rows in range(1, TALL + 1):
            for vectors in (1, 2):
                block = builder.append_basic_block(f"rows{rows}x{vectors}")
                switch.add_case(LONG(2 * rows + vectors), block)
                builder.position_at_end(block)
                _block(builder, rows, vectors, args[2:])
                builder.branch(behind)
        builder.position_at_end(behind)
        return context.get_dummy_value()

    return types.void(*[types.intp] * ARGUMENTS), codegen


def _multiply(
    rows, vectors, a, a_row, a_step, a_pieces, b, b_step, b_pieces, pieces, length, c, c_row, add
):  # pragma: no cover - compiled
    blocks = (rows + TALL - 1) // TALL
    while blocks > 0:  # of nearly the same height: 14 rows are 7 and 7
        some = (rows + blocks - 1) // blocks
        _blocks(
            some, vectors, a, a_row, a_step, a_pieces, b, b_step, b_pieces, pieces, length, c,
            c_row, add,
        )  # fmt: skip
        a, c, rows, blocks = a + some * a_row, c + some * c_row, rows - some, blocks - 1


@once
def _compiled() -> Any:
    return cfunc(types.void(*[types.intp] * ARGUMENTS), nopython=True, cache=True)(_multiply)


@functools.cache
def multiply_address() -> int:
    """Address of the compiled product, for `multiply`."""
    return int(_compiled().address)


@intrinsic
def multiply(
    typingctx: Any, function: Any, rows: Any, vectors: Any, a: Any, a_row: Any, a_step: Any,
    a_pieces: Any, b: Any, b_step: Any, b_pieces: Any, pieces: Any, length: Any, c: Any,
    c_row: Any, add: Any,
) -> Any:  # fmt: skip
    """C = A B, or C += A B, for one panel of columns, on this thread.

    All arguments are integers: addresses, and strides in bytes.

    Parameters
    ----------
    function : `multiply_address()`
    rows, vectors : int
        C has so many rows, and 1 or 2 vectors of columns.
    a, a_row, a_step, a_pieces : int
        A's address, the way from a row to the next and from a number in it to the next, and the
        address of a table (int64) with the place of each piece, relative to ``a``.
    b, b_step, b_pieces : int
        The same for B, whose rows are vectors.
    pieces, length : int
        How many pieces, and their length.
    c, c_row, add : int
        Where the result goes, and whether it is added to what is there.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [LONG] * ARGUMENTS)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * (ARGUMENTS + 1)), codegen
