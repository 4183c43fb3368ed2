"""Winograd's F(4×4, 3×3): sixteen results of a 3×3 convolution from 36 products instead of 144.

Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308,
section 4.3.  With tiles d of 6×6 pixels, filters g of 3×3 and results Y of 4×4:

    Y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A

The transforms apply to a vector of channels at once.  The filters' gradient needs their adjoints:
A y Aᵀ of the results' gradient, and Gᵀ u G of the gradient by a transformed filter.

The layout of transformed tiles is (panel, frequency, tile, channel): a *panel* has `gemm.PANEL`
channels, and the 36 frequencies are the elements of a transformed tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from nnlib_backends.numpy_backend.codegen.simd import (
    CONTRACT,
    LANES,
    LONG,
    VECTOR,
    load_first,
    load_some,
    splat,
    store,
    vector_at,
)  # fmt: skip

__all__ = [
    "SCRATCH", "gather", "transform_filter", "transform_image", "transform_result",
    "untransform_filter", "untransform_result",
]  # fmt: skip

f4 = np.float32
SCRATCH = 36 * LANES  #: size of the workspace of a two-dimensional transform

IMAGE = np.array([  # Bᵀ
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
])  # fmt: skip
FILTER = np.array([  # G
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
])  # fmt: skip
RESULT = np.array([  # Aᵀ
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
])  # fmt: skip
PAIRS = ((1, 2), (3, 4))  # rows or columns that are mirror images of each other


def _combine(builder: Any, factors: Any, vectors: Any) -> Any:
    """Emit the sum of vectors times constant factors."""
    total = None
    for factor, vector in zip(factors, vectors, strict=True):
        if factor:
            many = ir.Constant(VECTOR, [float(f4(factor))] * LANES)
            term = vector if factor == 1 else builder.fmul(vector, many, flags=CONTRACT)
            total = term if total is None else builder.fadd(total, term, flags=CONTRACT)
    return ir.Constant(VECTOR, [0.0] * LANES) if total is None else total


def _product(builder: Any, matrix: Any, vectors: Any) -> list[Any]:
    """Emit a matrix times vectors; common terms of mirror images are computed once."""
    if len(matrix) == 6:  # rows: sum and difference of two halves
        out = [
            _combine(builder, row, vectors) if i in (0, 5) else None for i, row in enumerate(matrix)
        ]
        for i, j in PAIRS:
            half = _combine(builder, (matrix[i] + matrix[j]) / 2, vectors)
            other = _combine(builder, (matrix[i] - matrix[j]) / 2, vectors)
            out[i] = builder.fadd(half, other, flags=CONTRACT)
            out[j] = builder.fsub(half, other, flags=CONTRACT)
        return out
    matrix, vectors = np.array(matrix, float), list(vectors)
    for i, j in PAIRS:
        a, b = vectors[i], vectors[j]
        vectors[i] = builder.fadd(a, b, flags=CONTRACT)
        vectors[j] = builder.fsub(a, b, flags=CONTRACT)
        total, difference = matrix[:, i] + matrix[:, j], matrix[:, i] - matrix[:, j]
        matrix[:, i], matrix[:, j] = total / 2, difference / 2
    return [_combine(builder, row, vectors) for row in matrix]


def _transform(matrix: Any) -> Any:
    """Return code that multiplies a constant matrix by vectors, read and written at strides.

    The vectors begin at elements ``first`` and ``to`` of arrays.
    """

    @intrinsic
    def apply(
        typingctx: Any, source: Any, first: Any, source_step: Any, count: Any, target: Any,
        to: Any, target_step: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, first, source_step, count, target, to, target_step = args
            kinds = signature.args[0], signature.args[4]
            vectors = []
            for i in range(matrix.shape[1]):
                index = builder.add(first, builder.mul(source_step, LONG(i)))
                vectors.append(
                    load_first(builder, vector_at(context, builder, kinds[0], source, index), count)
                )
            for i, vector in enumerate(_product(builder, matrix, vectors)):
                index = builder.add(to, builder.mul(target_step, LONG(i)))
                builder.store(vector, vector_at(context, builder, kinds[1], target, index), align=4)
            return context.get_dummy_value()

        word = types.intp
        return types.void(source, word, word, word, target, word, word), codegen

    return apply


_image, _filter, _result = _transform(IMAGE), _transform(FILTER), _transform(RESULT)
_filter_adjoint, _result_adjoint = _transform(FILTER.T), _transform(RESULT.T)


@njit
def transform_image(source, first, row, pixel, count, target, to, step, scratch):
    """Bᵀ d B of 6×6 pixels of an array, for ``count`` channels; the others are zeros.

    The 36 vectors go to ``target[to]``, ``target[to + step]``, …; row and pixel are strides.
    """
    for j in range(6):
        _image(source, first + j * pixel, row, count, scratch, j * LANES, 6 * LANES)
    for i in range(6):
        _image(scratch, 6 * i * LANES, LANES, LANES, target, to + 6 * i * step, step)


@njit
def transform_result(source, first, row, pixel, count, target, to, step, scratch):
    """A y Aᵀ of 4×4 pixels, otherwise like `transform_image`."""
    for j in range(4):
        _result_adjoint(source, first + j * pixel, row, count, scratch, j * LANES, 4 * LANES)
    for i in range(6):
        _result_adjoint(scratch, 4 * i * LANES, LANES, LANES, target, to + 6 * i * step, step)


@njit
def untransform_result(source, first, step, scratch):
    """Aᵀ m A of 36 vectors: 16 vectors, left in ``scratch``."""
    for j in range(6):
        _result(source, first + j * step, 6 * step, LANES, scratch, j * LANES, 6 * LANES)
    for i in range(4):  # over what has been read
        _result(scratch, 6 * i * LANES, LANES, LANES, scratch, 4 * i * LANES, LANES)


@njit
def transform_filter(source, first, tap, count, turned, target, to, step, scratch):
    """G g Gᵀ of nine vectors ``tap`` numbers apart, rotated by 180° if turned; 36 vectors."""
    first, tap = (first + 8 * tap, -tap) if turned else (first, tap)
    for j in range(3):
        _filter(source, first + j * tap, 3 * tap, count, scratch, j * LANES, 3 * LANES)
    for i in range(6):
        _filter(scratch, 3 * i * LANES, LANES, LANES, target, to + 6 * i * step, step)


@njit
def untransform_filter(source, first, step, scratch):
    """Gᵀ u G of 36 vectors: nine vectors, left in ``scratch``."""
    for j in range(6):
        _filter_adjoint(source, first + j * step, 6 * step, LANES, scratch, j * LANES, 6 * LANES)
    for i in range(3):  # over what has been read
        _filter_adjoint(scratch, 6 * i * LANES, LANES, LANES, scratch, 3 * i * LANES, LANES)


@njit
def gather(x, image, top, left, size, target, to):
    """Copy size × size pixels of an image to an array, with zeros outside the image."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    zero = splat(f4(0.0))
    for i in range(size):
        for j in range(size):
            row, column = top + i, left + j
            inside = 0 <= row < height and 0 <= column < width
            p = ((image * height + row) * width + column) * channels
            q = to + (i * size + j) * channels
            for k in range(0, channels, LANES):
                # writes beyond the pixel, where the next one will be written
                store(target, q + k, load_some(x, p + k, channels - k) if inside else zero)
