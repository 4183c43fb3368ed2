"""Matrix products in cuBLASLt's terms: transposition, leading dimensions, batches.

cuBLASLt's matrices are column-major, ours row-major: our memory holds transposed matrices, so
``C = A·B`` is computed as ``Cᵀ = Bᵀ·Aᵀ`` with B as the first operand.  An operand that is itself a
transposed view (``W.T``) needs no copy either.

All strides are counted in elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Operand", "Problem", "Split", "operand", "split_batches"]

Strides: TypeAlias = Sequence[int]


@dataclass(frozen=True)
class Operand:
    """Memory layout of a matrix.

    Attributes
    ----------
    transposed : bool
        Whether the matrix is stored column by column.
    ld : int
        Stride of the rows (of a transposed matrix: columns).
    step : int
        Stride of the batch; 0 for a repeated matrix.
    alignment : int
        Bytes, a power of two up to 16, that the first element's address is a multiple of.
    """

    transposed: bool
    ld: int
    step: int = 0
    alignment: int = 16


@dataclass(frozen=True)
class Problem:
    """A product to plan, and the key of its plan: ``out (rows, columns) = a · b``, a batch of them.

    Attributes
    ----------
    rows, columns, inner, batch : int
    a, b, out : Operand
        ``out`` is never transposed.
    dtype, out_dtype : str
        NumPy's name, of ``a`` and ``b``, and of ``out``; sums are in float32 at least.
    tf32 : bool
        Whether float32 products may be rounded to TF32's 10-bit mantissa.
    epilogue : str
        Operation on the sums, by cuBLASLt's name:

        - ``BIAS``, ``RELU``, ``RELU_BIAS``, ``GELU…``: add a vector (columns,), then the
          activation (GELU in the approximation by tanh), then store;
        - with ``_AUX``: also store the argument of GELU, a dense (rows, columns);
        - ``BGRADB``: also store the sums of the rows of ``a``, a vector (rows,).
    vector_alignment : int
        Alignment of the vector's address, see `Operand`.
    """

    rows: int
    columns: int
    inner: int
    batch: int
    a: Operand
    b: Operand
    out: Operand
    dtype: str
    out_dtype: str
    tf32: bool = False
    epilogue: str = "DEFAULT"
    vector_alignment: int = 16


def operand(shape: Sequence[int], strides: Sequence[int]) -> tuple[bool, int] | None:
    """Return (transposed, ld) of a matrix, or ``None`` if it must be copied.

    Examples
    --------
    >>> operand((2, 3), (3, 1)), operand((2, 3), (1, 2))  # by rows, by columns
    ((False, 3), (True, 2))
    >>> operand((2, 3), (10, 1))  # a part of wider rows
    (False, 10)
    >>> operand((2, 3), (6, 2)) is None  # every second column
    True
    """
    (rows, columns), (down, right) = shape, strides
    if columns == 1 or right == 1:
        if rows == 1:
            return False, columns
        if down >= columns:
            return False, down
    if rows == 1 or down == 1:
        if columns == 1:
            return True, rows
        if right >= rows:
            return True, right
    return None


@dataclass(frozen=True)
class Split:
    """A batch, divided into calls for one axis each.

    Attributes
    ----------
    count : int
        Matrices in a call.
    steps : tuple of int
        Stride of each operand from one matrix to the next.
    starts : list of tuple of int
        For each call, the offset of each operand.
    """

    count: int
    steps: tuple[int, ...]
    starts: list[tuple[int, ...]]


def split_batches(shape: Sequence[int], strides: Sequence[Strides]) -> Split:
    """Join axes of a batch that all operands' strides allow; a call takes the longest axis.

    Parameters
    ----------
    shape : sequence of int
        Shape of the batch.
    strides : sequence of sequences
        Strides of each operand along these axes, 0 where it is repeated.

    Examples
    --------
    Contiguous operands, and the heads of (B, T, H, D) arrays, whose batches are 2 and 3 long:

    >>> split_batches((2, 3), [(12, 4), (0, 0)])
    Split(count=6, steps=(4, 0), starts=[(0, 0)])
    >>> split_batches((2, 3), [(60, 4)])
    Split(count=3, steps=(4,), starts=[(0,), (60,)])
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    for i, length in enumerate(shape):
        if length == 1:
            continue
        steps = tuple(each[i] for each in strides)
        if axes and all(
            outer == inner * length for outer, inner in zip(axes[-1][1], steps, strict=True)
        ):
            axes[-1] = (axes[-1][0] * length, steps)
        else:
            axes.append((length, steps))
    if not axes:
        zeros = (0,) * len(strides)
        return Split(1, zeros, [zeros])
    longest = max(range(len(axes)), key=lambda i: axes[i][0])
    count, steps = axes.pop(longest)
    starts = [(0,) * len(strides)]
    for length, along in axes:
        starts = [
            tuple(start + k * step for start, step in zip(each, along, strict=True))
            for each in starts
            for k in range(length)
        ]
    assert math.prod(shape) == count * len(starts)
    return Split(count, steps, starts)
