"""``matmul`` and ``dot`` with NumPy's behaviour, by cuBLASLt where it supports the arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.gemm.cublaslt import Addresses, CublasLt
from nnlib_backends.cupy_backend.gemm.half_gemm import Gemm
from nnlib_backends.cupy_backend.gemm.layout import Operand, Problem, operand, split_batches
from nnlib_backends.dtypes import LOW_DTYPES, is_half

__all__ = ["CublasGemm"]

DTYPES = ("float32", "float64", *LOW_DTYPES)
_MOST_CALLS = 16  # for a batch whose axes cannot be joined; beyond it an operand is copied
_AUX_MULTIPLE = 8  # divides the columns of the array that an epilogue stores
_AUX_ALIGNMENT = 16


class CublasGemm:
    """Matrix products of one GPU.

    Parameters
    ----------
    cublaslt : CublasLt or None
        ``None`` where the library is missing: then ``xp`` computes.
    xp : namespace
        CuPy's, whose ``matmul`` and ``dot`` compute what cuBLASLt does not support.
    pointer : callable
        Address of an array's first element.
    stream : callable
        Address of the current stream.
    tf32 : callable
        Whether float32 products may be TF32 now.
    gemm : callable, optional
        GEMM of half matrices with a float32 result without cuBLASLt, see `half_gemm.make_gemm`; by
        default the matrices are converted to float32.
    """

    def __init__(
        self,
        cublaslt: CublasLt | None,
        xp: Any,
        pointer: Callable[[Array], int],
        stream: Callable[[], int],
        tf32: Callable[[], bool],
        gemm: Gemm | None = None,
    ) -> None:
        self._lt, self._xp = cublaslt, xp
        self._pointer, self._stream, self._tf32, self._gemm = pointer, stream, tf32, gemm

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """Compute ``a @ b``: vectors, matrices and stacks of matrices, as ``numpy.matmul``.

        Sums are in float32 at least.  The result of half matrices has their dtype, unless ``out``
        is float32.
        """
        if self._lt is None or not self._can(a, b):
            return self._by_xp(a, b, out)
        a, b = self._alike(a, b)
        left, right = a[None, :] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
        target = out if a.ndim > 1 and b.ndim > 1 else None
        result = self.product(left, right, out=target)
        if a.ndim == 1:
            result = result[..., 0, :]
        if b.ndim == 1:
            result = result[..., 0]
        if out is not None and target is None:
            out[...] = result
        return result if out is None else out

    def dot(self, a: Array, b: Array) -> Array:
        """Compute the product of matrices or vectors, as ``numpy.dot``."""
        if min(getattr(a, "ndim", 0), getattr(b, "ndim", 0)) == 0 or b.ndim > 2:
            return self._xp.dot(a, b)
        if a.ndim == b.ndim == 1 and not (is_half(a) or is_half(b)):
            return self._xp.vdot(a, b)  # a reduction, which can be captured
        if a.ndim > 2:
            rows = self.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b)
            return rows.reshape(*a.shape[:-1], *b.shape[1:])
        return self.matmul(a, b)

    def product(
        self, a: Array, b: Array, out: Array | None = None, *, accumulate: bool = False
    ) -> Array:
        """Compute ``a @ b`` for matrices or stacks of one dtype.

        Parameters
        ----------
        a, b : arrays (..., rows, inner), (..., inner, columns)
        out : array (..., rows, columns), optional
            To write into.
        accumulate : bool
            Whether to add to ``out``.
        """
        rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape = (*batch, rows, columns)
        target = out if out is not None and _fits(out, shape, a.dtype) else None
        if target is None:
            target = self._xp.empty(shape, dtype=a.dtype)
            if accumulate:
                target[...] = out
        if inner and target.size:
            if self._lt is None or not self._run(a, b, target, batch, accumulate=accumulate):
                self._without_cublaslt(a, b, target, accumulate)
        elif not accumulate:
            target[...] = 0
        if out is not None and target is not out:
            out[...] = target
        return target if out is None else out

    def fused(
        self,
        a: Array,
        b: Array,
        out: Array,
        epilogue: str,
        vector: Array | None = None,
        aux: Array | None = None,
    ) -> bool:
        """Compute ``a @ b`` and an epilogue in one kernel.

        Parameters
        ----------
        a, b : arrays (rows, inner), (inner, columns)
            Of one dtype; not empty.
        out : array (rows, columns)
        epilogue : str
            See `Problem`.
        vector : array, optional
            A bias (columns,), or the target of sums (rows,); contiguous, of the dtype of ``out``.
        aux : array (rows, columns), optional
            Target of the activation's argument; contiguous, of the dtype of ``out``.

        Returns
        -------
        bool
            False if cuBLASLt has no such kernel.
        """
        if self._lt is None or not (self._can(a, b) and _fits(out, out.shape, a.dtype)):
            return False
        if aux is not None and (
            out.shape[1] % _AUX_MULTIPLE or self._pointer(aux) % _AUX_ALIGNMENT
        ):
            return False
        return self._run(a, b, out, (), epilogue, vector, aux)

    # Private -----------------------------------------------------------------------------------

    def _can(self, a: Any, b: Any) -> bool:
        """Tell whether cuBLASLt can multiply the arrays."""
        kind = self._xp.ndarray
        if not (isinstance(a, kind) and isinstance(b, kind) and a.ndim and b.ndim):
            return False
        if a.dtype.name not in DTYPES or b.dtype.name not in DTYPES:
            return False
        return bool(a.shape[-1] == b.shape[-2 if b.ndim > 1 else 0])

    def _alike(self, a: Array, b: Array) -> tuple[Array, Array]:
        if a.dtype == b.dtype:
            return a, b
        dtype = self._xp.promote_types(a.dtype, b.dtype)
        return a.astype(dtype, copy=False), b.astype(dtype, copy=False)

    def _run(
        self, a: Array, b: Array, out: Array, batch: tuple[int, ...], epilogue: str = "DEFAULT",
        vector: Array | None = None, aux: Array | None = None, *, accumulate: bool = False,
    ) -> bool:  # fmt: skip
        a, b = self._laid_out(a), self._laid_out(b)
        split = split_batches(batch, [_along(x, batch) for x in (a, b, out)])
        if len(split.starts) > _MOST_CALLS:
            a, b = (self._spread(x, batch) for x in (a, b))
            split = split_batches(batch, [_along(x, batch) for x in (a, b, out)])
        sizes = [x.dtype.itemsize for x in (a, b, out)]
        pointers = [self._pointer(x) for x in (a, b, out)]
        starts = [
            [size * offset for size, offset in zip(sizes, start, strict=True)]
            for start in split.starts
        ]
        left, right, result = (
            Operand(
                *_layout(x), step, _alignment(pointers[i], step * sizes[i], *[s[i] for s in starts])
            )
            for i, (x, step) in enumerate(zip((a, b, out), split.steps, strict=True))
        )
        at_vector, at_aux = (0 if x is None else self._pointer(x) for x in (vector, aux))
        problem = Problem(
            a.shape[-2], b.shape[-1], a.shape[-1], split.count, left, right, result,
            a.dtype.name, out.dtype.name, a.dtype.name == "float32" and self._tf32(), epilogue,
            _alignment(at_vector),
        )  # fmt: skip
        stream = self._stream()
        assert self._lt is not None
        addresses = [
            Addresses(*(p + offset for p, offset in zip(pointers, start, strict=True)))._replace(
                vector=at_vector, aux=at_aux
            )
            for start in starts
        ]
        if accumulate and not self._lt.has_plan(problem):  # made by a run without accumulating
            before = out.copy()
            self._lt.run(problem, addresses[0], stream)
            out[...] = before
        return all(self._lt.run(problem, at, stream, accumulate) for at in addresses)

    def _without_cublaslt(self, a: Array, b: Array, out: Array, accumulate: bool) -> None:
        if accumulate:
            out += self._by_xp(a, b, self._xp.empty(out.shape, dtype=out.dtype))
        else:
            self._by_xp(a, b, out)

    def _by_xp(self, a: Any, b: Any, out: Array | None = None) -> Array:
        """Compute ``a @ b`` by CuPy, in float32 where CuPy would lose digits of half numbers.

        CuPy sums products of two half matrices in float32, but fails for batches of bfloat16, and
        rounds each product to 16 bits if the result is a single number.
        """
        halves = [x for x in (a, b) if is_half(x)]
        if self._gemm is not None and len(halves) == 2 and _leaves_sums(a, b, out):
            self._gemm(self._laid_out(a), self._laid_out(b), out)
            return out
        if not halves or ((out is None or is_half(out)) and _is_matrix_product(a, b)):
            return self._xp.matmul(a, b) if out is None else self._xp.matmul(a, b, out=out)
        dtype = self._xp.promote_types(a.dtype, b.dtype) if out is None else out.dtype
        wide = [x.astype("float32") if is_half(x) else x for x in (a, b)]
        result = self._xp.matmul(*wide)
        if out is None:
            return result.astype(dtype, copy=False)
        out[...] = result.astype(dtype, copy=False)
        return out

    def _laid_out(self, x: Array) -> Array:
        """Return an array whose matrices cuBLASLt can read: the array itself or a copy."""
        return x if operand(x.shape[-2:], _strides(x)[-2:]) else self._xp.ascontiguousarray(x)

    def _spread(self, x: Array, batch: tuple[int, ...]) -> Array:
        return self._xp.ascontiguousarray(self._xp.broadcast_to(x, (*batch, *x.shape[-2:])))


def _leaves_sums(a: Array, b: Array, out: Array | None) -> bool:
    """Tell whether two half matrices are multiplied into a float32 one."""
    return (
        out is not None
        and a.dtype == b.dtype
        and a.ndim == b.ndim == 2
        and a.shape[1] == b.shape[0] > 0 < out.size
        and out.dtype.name == "float32"
        and _fits(out, (a.shape[0], b.shape[1]), a.dtype)
    )


def _is_matrix_product(a: Array, b: Array) -> bool:
    """Tell whether the result is a matrix or vector of more than one number."""
    rows, columns = (x.shape[i] if x.ndim > 1 else 1 for x, i in ((a, -2), (b, -1)))
    return max(a.ndim, b.ndim) <= 2 and rows * columns > 1


def _strides(x: Array) -> tuple[int, ...]:
    return tuple(stride // x.dtype.itemsize for stride in x.strides)


def _layout(x: Array) -> tuple[bool, int]:
    layout = operand(x.shape[-2:], _strides(x)[-2:])
    assert layout is not None
    return layout


def _along(x: Array, batch: tuple[int, ...]) -> tuple[int, ...]:
    """Strides along the axes of a batch, in elements; 0 where the array is repeated."""
    missing = len(batch) - (x.ndim - 2)
    own = [
        0 if length == 1 else stride
        for length, stride in zip(x.shape[:-2], _strides(x)[:-2], strict=True)
    ]
    return (*[0] * missing, *own)


def _fits(out: Array, shape: tuple[int, ...], dtype: Any) -> bool:
    """Tell whether a product of this shape and dtype can be written into an array directly."""
    half = dtype.name in LOW_DTYPES
    if out.shape != shape or not (out.dtype == dtype or (half and out.dtype.name == "float32")):
        return False
    layout = operand(out.shape[-2:], _strides(out)[-2:])
    return layout is not None and not layout[0]


def _alignment(address: int, *offsets: int) -> int:
    """Return the largest power of two, up to 16, that divides an address and all offsets."""
    bits = 16
    for number in (address, *offsets):
        bits |= number
    return bits & -bits
