"""GEMM of small matrices, and of matrices in the layouts of convolutions.

BLAS packs both factors before it multiplies, which takes as long as the arithmetic for a recurrent
step (16 × 128 · 128 × 512) or a head of attention (64 × 32 · 32 × 64); a convolution packs its
factors itself.  So this is a GEMM's micro-kernel only: a block of the result, some rows by some
vectors, stays in registers while

    ``C[i, j] += A[i, p] · B[p, j]``

runs over ``p``, one number of A at a time times the vectors of a row of B.  A is addressed by two
strides; the rows of B must be contiguous.

`multiply` takes whole matrices.  `multiply_panel` computes the columns of one panel, and ``p`` may
run over several pieces whose positions are in a table (the taps of a convolution in the image).
Measured on one Zen 4 core: 112 GFLOP/s for a panel's 24 × 64 times 64 × 32, 116 for longer sums, of
118 possible.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from nnlib_backends.locks import once
from nnlib_backends.numpy_backend.codegen.arguments import pointer
from nnlib_backends.numpy_backend.codegen.simd import (
    CONTRACT,
    FLOAT,
    LANES,
    LONG,
    REGISTERS,
    VECTOR,
    spread,
)

__all__ = [
    "GROUP", "PANEL", "multiply", "multiply_address", "multiply_panel", "multiply_panel_address",
]  # fmt: skip

f4 = np.float32

PANEL = 2 * LANES  #: columns of C that `multiply_panel` computes together
TALL = 12 if REGISTERS == 32 else 6  # rows of C in registers, with two vectors of B and one of A
GROUP, VECTORS = 4, 4 if REGISTERS == 32 else 2  #: rows and vectors of a block of `multiply`


# The micro-kernel --------------------------------------------------------------------------------


def _block(
    builder: Any, rows: int, vectors: int, c: Any, c_row: Any, add: Any,
    sum_up: Callable[[Any], None],
) -> None:  # fmt: skip
    """Emit code for a block of the result; ``sum_up`` emits the additions to it."""
    places = [
        [
            _vector(builder, c, builder.add(builder.mul(c_row, LONG(i)), LONG(j * LANES)))
            for j in range(vectors)
        ]
        for i in range(rows)
    ]
    # LLVM promotes these slots to registers
    sums = [[cgutils.alloca_once(builder, VECTOR) for _ in row] for row in places]
    every = [(i, j) for i in range(rows) for j in range(vectors)]
    with builder.if_else(builder.icmp_signed("!=", add, LONG(0))) as (then, otherwise):
        with then:
            for i, j in every:
                builder.store(builder.load(places[i][j], align=4), sums[i][j])
        with otherwise:
            for i, j in every:
                builder.store(ir.Constant(VECTOR, [0.0] * LANES), sums[i][j])
    sum_up(sums)
    for i, j in every:
        builder.store(builder.load(sums[i][j]), places[i][j], align=4)


def _sum(
    builder: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any, length: Any, sums: Any
) -> None:
    """Emit the loop over ``p``: the outer products of A's columns and B's rows."""
    p, q = cgutils.alloca_once_value(builder, a), cgutils.alloca_once_value(builder, b)
    with cgutils.for_range(builder, length):
        start, row = builder.load(p), builder.load(q)
        vectors = [
            builder.load(_vector(builder, row, LONG(j * LANES)), align=4)
            for j in range(len(sums[0]))
        ]
        for i, slots in enumerate(sums):
            number = builder.load(builder.gep(start, [builder.mul(a_row, LONG(i))]), align=4)
            factor = spread(builder, number)
            for slot, vector in zip(slots, vectors, strict=True):
                product = builder.fmul(factor, vector, flags=CONTRACT)
                builder.store(builder.fadd(product, builder.load(slot), flags=CONTRACT), slot)
        builder.store(builder.gep(start, [a_step]), p)
        builder.store(builder.gep(row, [b_step]), q)


def _numbers(builder: Any, address: Any) -> Any:
    """Emit a pointer to float32 numbers."""
    return builder.inttoptr(address, FLOAT.as_pointer())


def _vector(builder: Any, numbers: Any, index: Any) -> Any:
    """Emit a pointer to a vector that begins at one of the numbers."""
    return builder.bitcast(builder.gep(numbers, [index]), VECTOR.as_pointer())


def _call(count: int) -> Any:
    """Return code that calls a compiled function at an address with ``count`` integers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [LONG] * count)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * (count + 1)), codegen


# Matrices ----------------------------------------------------------------------------------------


def _make_block(rows: int, vectors: int) -> Any:
    """Return a function that computes ``rows`` × ``vectors · LANES`` values of a product."""

    @intrinsic
    def block(
        typingctx: Any, depth: Any, a: Any, row: Any, step: Any, b: Any, ldb: Any, c: Any, ldc: Any,
        add: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            depth, a, row, step, b, ldb, c, ldc, add = args
            a, b, c = (_numbers(builder, address) for address in (a, b, c))

            def sum_up(sums: Any) -> None:
                _sum(builder, a, row, step, b, ldb, depth, sums)

            _block(builder, rows, vectors, c, ldc, add, sum_up)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9), codegen

    return block


_full, _column = _make_block(GROUP, VECTORS), _make_block(GROUP, 1)
_row, _single = _make_block(1, VECTORS), _make_block(1, 1)


def _multiply(m, n, k, a, row, step, b, ldb, c, ldc, add):
    """Compute `multiply`."""
    whole = n // LANES * LANES
    i = 0
    while i < m:
        many = m - i >= GROUP
        j = 0
        while j < whole:
            left, right, result = a + 4 * i * row, b + 4 * j, c + 4 * (i * ldc + j)
            if whole - j >= VECTORS * LANES:
                if many:
                    _full(k, left, row, step, right, ldb, result, ldc, add)
                else:
                    _row(k, left, row, step, right, ldb, result, ldc, add)
                j += VECTORS * LANES
            else:
                if many:
                    _column(k, left, row, step, right, ldb, result, ldc, add)
                else:
                    _single(k, left, row, step, right, ldb, result, ldc, add)
                j += LANES
        i += GROUP if many else 1
    if whole < n:
        _rest(m, n, k, a, row, step, b, ldb, c, ldc, whole, add)


@njit
def _rest(m, n, k, a, row, step, b, ldb, c, ldc, first, add):
    """Compute the columns of the result that do not fill a vector."""
    left = carray(pointer(a, f4), ((m - 1) * row + (k - 1) * step + 1,))
    right = carray(pointer(b, f4), ((k - 1) * ldb + n,))
    result = carray(pointer(c, f4), ((m - 1) * ldc + n,))
    for i in range(m):
        for j in range(first, n):
            total = left[i * row] * right[j] + (result[i * ldc + j] if add else f4(0.0))
            for p in range(1, k):
                total += left[i * row + p * step] * right[p * ldb + j]
            result[i * ldc + j] = total


@once
def _compiled() -> Any:
    kind = types.void(*[types.intp] * 11)
    return cfunc(kind, nopython=True, cache=True, error_model="numpy")(_multiply)


def multiply_address() -> int:
    """Return the address of `_multiply`, compiled once for all kernels."""
    return int(_compiled().address)


@intrinsic
def multiply(
    typingctx: Any, function: Any, m: Any, n: Any, k: Any, a: Any, row: Any, step: Any, b: Any,
    ldb: Any, c: Any, ldc: Any, add: Any,
) -> Any:  # fmt: skip
    """C = A B, or C += A B, for A (m, k), B (k, n) and C (m, n), ``k`` at least 1.

    Parameters
    ----------
    function : int
        `multiply_address`.
    m, n, k : int
        Sizes; fastest where n is a multiple of `LANES`.
    a, row, step : int
        Address of A, and the strides of its rows and columns (in numbers): (k, 1), or (1, m) for a
        matrix that is stored transposed.
    b, ldb, c, ldc : int
        Addresses of B and C, and the lengths of their stored rows.
    add : int
        1 to add to C, else 0.
    """
    return _call(11)


# Panels ------------------------------------------------------------------------------------------

ARGUMENTS = 14


def _panel_block(builder: Any, rows: int, vectors: int, args: Any) -> None:
    a, a_row, a_step, a_pieces, b, b_step, b_pieces, pieces, length, c, c_row, add = args
    a, b, c = (_numbers(builder, address) for address in (a, b, c))

    def sum_up(sums: Any) -> None:
        with cgutils.for_range(builder, pieces) as piece:
            left = _piece(builder, a, a_pieces, piece.index)
            right = _piece(builder, b, b_pieces, piece.index)
            _sum(builder, left, a_row, a_step, right, b_step, length, sums)

    _block(builder, rows, vectors, c, c_row, add, sum_up)


def _piece(builder: Any, numbers: Any, table: Any, index: Any) -> Any:
    """Emit a pointer to a piece of A or B."""
    entry = builder.gep(builder.inttoptr(table, LONG.as_pointer()), [index])
    return builder.gep(numbers, [builder.load(entry)])


@intrinsic
def _panel_blocks(
    typingctx: Any, rows: Any, vectors: Any, a: Any, a_row: Any, a_step: Any, a_pieces: Any,
    b: Any, b_step: Any, b_pieces: Any, pieces: Any, length: Any, c: Any, c_row: Any, add: Any,
) -> Any:  # fmt: skip
    """Compute a block of 1 to TALL ``rows`` and one or two ``vectors``, by code for each case."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        case = builder.add(builder.mul(args[0], LONG(2)), args[1])
        behind = builder.append_basic_block("behind")
        switch = builder.switch(case, behind)
        for rows in range(1, TALL + 1):
            for vectors in (1, 2):
                block = builder.append_basic_block(f"rows{rows}x{vectors}")
                switch.add_case(LONG(2 * rows + vectors), block)
                builder.position_at_end(block)
                _panel_block(builder, rows, vectors, args[2:])
                builder.branch(behind)
        builder.position_at_end(behind)
        return context.get_dummy_value()

    return types.void(*[types.intp] * ARGUMENTS), codegen


def _multiply_panel(
    rows, vectors, a, a_row, a_step, a_pieces, b, b_step, b_pieces, pieces, length, c, c_row, add
):  # pragma: no cover - compiled
    blocks = (rows + TALL - 1) // TALL
    while blocks > 0:  # of nearly equal height: 14 rows are 7 and 7
        some = (rows + blocks - 1) // blocks
        _panel_blocks(
            some, vectors, a, a_row, a_step, a_pieces, b, b_step, b_pieces, pieces, length, c,
            c_row, add,
        )  # fmt: skip
        a, c = a + 4 * some * a_row, c + 4 * some * c_row
        rows, blocks = rows - some, blocks - 1


@once
def _compiled_panel() -> Any:
    kind = types.void(*[types.intp] * ARGUMENTS)
    return cfunc(kind, nopython=True, cache=True)(_multiply_panel)


@functools.cache
def multiply_panel_address() -> int:
    """Return the address of `_multiply_panel`."""
    return int(_compiled_panel().address)


@intrinsic
def multiply_panel(
    typingctx: Any, function: Any, rows: Any, vectors: Any, a: Any, a_row: Any, a_step: Any,
    a_pieces: Any, b: Any, b_step: Any, b_pieces: Any, pieces: Any, length: Any, c: Any,
    c_row: Any, add: Any,
) -> Any:  # fmt: skip
    """C = A B, or C += A B, for one panel of columns, on this thread.

    All arguments are integers: addresses, and strides in numbers.

    Parameters
    ----------
    function : `multiply_panel_address()`
    rows, vectors : int
        Rows of C, and its vectors of columns, 1 or 2.
    a, a_row, a_step, a_pieces : int
        A's address, the strides of its rows and columns, and the address of a table (int64) with
        the offset of each piece from ``a``.
    b, b_step, b_pieces : int
        The same for B, whose rows are vectors.
    pieces, length : int
        Number of pieces, and their length.
    c, c_row, add : int
        C's address, the stride of its rows, and whether to add to C.
    """
    return _call(ARGUMENTS)
