"""Products of small matrices, in registers.

BLAS is made for large products.  Those of a recurrent step (16 × 128 · 128 × 512) or of one head of
attention (64 × 32 · 32 × 64) it packs anew each time, which takes as long as the arithmetic.  Here
a tile of the result, a few rows by a few vectors, stays in registers while the loop runs over the
inner axis; nothing is packed, so the right-hand matrix must have its rows in memory in a row.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from nnlib_backends.locks import once
from nnlib_backends.numpy_backend.codegen.arguments import at

f4 = np.float32

__all__ = ["GROUP", "LANES", "multiply", "multiply_address"]

# 32 registers of 16 numbers with AVX-512, else 16 of 8 (AVX2) or 32 of 4 (NEON, as pairs)
_WIDE = llvmlite.binding.get_host_cpu_features().get("avx512f", False)
LANES = 16 if _WIDE else 8
GROUP, VECTORS = (4, 4) if _WIDE else (4, 2)  #: rows and vectors of a tile


def _make_tile(rows: int, vectors: int) -> Any:
    """Return a function that computes ``rows`` × ``vectors · LANES`` values of a product."""

    @intrinsic
    def tile(
        typingctx: Any, depth: Any, a: Any, row: Any, step: Any, b: Any, ldb: Any, c: Any, ldc: Any,
        add: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(*[types.intp] * 8, types.boolean)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_tile(builder, rows, vectors, *args)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _emit_tile(
    builder: Any, rows: int, vectors: int,
    depth: Any, a: Any, row: Any, step: Any, b: Any, ldb: Any, c: Any, ldc: Any, add: Any,
) -> None:  # fmt: skip
    """Write the loop: load one row of b, multiply it by a number of every row of a, add."""
    word, one, vector = ir.IntType(64), ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
    muladd = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    before, loop, after = (
        builder.block,
        builder.append_basic_block("tile.loop"),
        builder.append_basic_block("tile.end"),
    )
    zero = ir.Constant(vector, [0.0] * LANES)
    places = _places(builder, c, ldc, rows, vectors, vector)
    starts = [[builder.select(add, builder.load(p, align=4), zero) for p in r] for r in places]
    builder.branch(loop)
    builder.position_at_end(loop)
    k, place_a, place_b = (builder.phi(word) for _ in range(3))
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    factors = [
        builder.load(_pointer(builder, _offset(builder, place_b, v * LANES * 4), vector), align=4)
        for v in range(vectors)
    ]
    place, results = place_a, []
    for r in range(rows):
        number = builder.load(_pointer(builder, place, one), align=4)
        wide = builder.shuffle_vector(
            builder.insert_element(ir.Constant(vector, ir.Undefined), number, word(0)),
            ir.Constant(vector, ir.Undefined),
            ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES),
        )
        results.append(
            [builder.call(muladd, [wide, f, s]) for f, s in zip(factors, sums[r], strict=True)]
        )
        place = builder.add(place, row)
    following = (builder.add(k, word(1)), builder.add(place_a, step), builder.add(place_b, ldb))
    builder.cbranch(builder.icmp_signed("<", following[0], depth), loop, after)
    for phi, first, next_one in zip((k, place_a, place_b), (word(0), a, b), following, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_one, loop)
    for phis, firsts, values in zip(sums, starts, results, strict=True):
        for phi, first, value in zip(phis, firsts, values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(value, loop)
    builder.position_at_end(after)
    for values, targets in zip(results, places, strict=True):
        for value, target in zip(values, targets, strict=True):
            builder.store(value, target, align=4)


def _places(builder: Any, c: Any, ldc: Any, rows: int, vectors: int, vector: Any) -> list[Any]:
    """Pointers to the vectors of the result, row by row."""
    places = []
    for _ in range(rows):
        addresses = [_offset(builder, c, v * LANES * 4) for v in range(vectors)]
        places.append([_pointer(builder, address, vector) for address in addresses])
        c = builder.add(c, ldc)
    return places


def _offset(builder: Any, address: Any, distance: int) -> Any:
    return builder.add(address, ir.IntType(64)(distance))


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


_full, _column = _make_tile(GROUP, VECTORS), _make_tile(GROUP, 1)
_row, _single = _make_tile(1, VECTORS), _make_tile(1, 1)


def _multiply(m, n, k, a, row, step, b, ldb, c, ldc, add_to):
    """What `multiply` calls."""
    add = add_to != 0
    whole = n // LANES * LANES
    i = 0
    while i < m:
        many = m - i >= GROUP
        j = 0
        while j < whole:
            left, right, result = a + 4 * i * row, b + 4 * j, c + 4 * (i * ldc + j)
            if whole - j >= VECTORS * LANES:
                if many:
                    _full(k, left, 4 * row, 4 * step, right, 4 * ldb, result, 4 * ldc, add)
                else:
                    _row(k, left, 4 * row, 4 * step, right, 4 * ldb, result, 4 * ldc, add)
                j += VECTORS * LANES
            else:
                if many:
                    _column(k, left, 4 * row, 4 * step, right, 4 * ldb, result, 4 * ldc, add)
                else:
                    _single(k, left, 4 * row, 4 * step, right, 4 * ldb, result, 4 * ldc, add)
                j += LANES
        i += GROUP if many else 1
    if whole < n:
        _rest(m, n, k, a, row, step, b, ldb, c, ldc, whole, add)


@njit
def _rest(m, n, k, a, row, step, b, ldb, c, ldc, first, add):
    """Columns of the product that do not fill a vector."""
    left, right = at(a, (m - 1) * row + (k - 1) * step + 1), at(b, (k - 1) * ldb + n)
    result = at(c, (m - 1) * ldc + n)
    for i in range(m):
        for j in range(first, n):
            total = left[i * row] * right[j] + (result[i * ldc + j] if add else f4(0.0))
            for p in range(1, k):
                total += left[i * row + p * step] * right[p * ldb + j]
            result[i * ldc + j] = total


_SIGNATURE = types.void(*[types.intp] * 11)


@once
def _compiled() -> Any:
    return cfunc(_SIGNATURE, nopython=True, cache=True, error_model="numpy")(_multiply)


@functools.cache
def multiply_address() -> int:
    """Address of the function behind `multiply`, compiled once for all kernels that call it."""
    return int(_compiled().address)


@intrinsic
def multiply(
    typingctx: Any, address: Any, m: Any, n: Any, k: Any, a: Any, row: Any, step: Any, b: Any,
    ldb: Any, c: Any, ldc: Any, add: Any,
) -> Any:  # fmt: skip
    """C = A B, or C += A B, for A (m, k), B (k, n) and C (m, n), ``k`` at least 1.

    Parameters
    ----------
    address : int
        `multiply_address`.
    m, n, k : int
        Sizes; fastest where n is a multiple of `LANES`.
    a, row, step : int
        Address of A, and how far its rows and its columns are apart (in numbers): (k, 1) for a
        matrix as it is, (1, m) for one that is stored transposed.
    b, ldb, c, ldc : int
        Addresses of B and C, and the lengths of their stored rows.
    add : int
        1 to add to what is in C, else 0.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 11)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 12), codegen
