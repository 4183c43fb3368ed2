"""``matmul`` and ``dot`` as NumPy has them, computed by cuBLASLt wherever it can."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnlib_backends.contract import Array
from nnlib_backends.cupy_backend.products.cublaslt import CublasLt
from nnlib_backends.cupy_backend.products.layout import Operand, Problem, operand, split_batches

__all__ = ["Products"]

DTYPES = ("float32", "float64", "float16", "bfloat16")
_MOST_CALLS = 16  # for one batch, whose axes cannot be joined; else an operand is copied


class Products:
    """Products of one GPU.

    Parameters
    ----------
    cublaslt : CublasLt
    xp : namespace
        CuPy's, whose ``matmul`` and ``dot`` do what cuBLASLt does not.
    pointer : callable
        Address of an array's first element.
    stream : callable
        Address of the current stream.
    tf32 : callable
        Whether float32 products may be TF32 now.
    """

    def __init__(
        self,
        cublaslt: CublasLt,
        xp: Any,
        pointer: Callable[[Array], int],
        stream: Callable[[], int],
        tf32: Callable[[], bool],
    ) -> None:
        self._lt, self._xp = cublaslt, xp
        self._pointer, self._stream, self._tf32 = pointer, stream, tf32

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """Compute ``a @ b``: vectors, matrices and stacks of matrices, as ``numpy.matmul``."""
        if not self._can(a, b):
            return self._xp.matmul(a, b) if out is None else self._xp.matmul(a, b, out=out)
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
        if a.ndim == b.ndim == 1:
            return self._xp.vdot(a, b)  # a reduction, which can be captured
        if a.ndim > 2:
            rows = self.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b)
            return rows.reshape(*a.shape[:-1], *b.shape[1:])
        return self.matmul(a, b)

    def product(
        self,
        a: Array,
        b: Array,
        out: Array | None = None,
        *,
        bias: Array | None = None,
        activation: str | None = None,
        accumulate: bool = False,
    ) -> Array:
        """Compute ``activation(a @ b + bias)`` for matrices or stacks of one dtype.

        Parameters
        ----------
        a, b : arrays (..., rows, inner), (..., inner, columns)
        out : array (..., rows, columns), optional
            To write into.
        bias : array (columns,), optional
        activation : "relu", "gelu" (by tanh) or None
        accumulate : bool
            Add to what ``out`` holds.  Then neither bias nor activation.
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
            epilogue = "+".join(
                part for part in (activation, None if bias is None else "bias") if part
            )
            self._run(a, b, target, batch, epilogue, bias, accumulate)
        elif not accumulate:
            self._without_sums(target, bias, activation)
        if out is not None and target is not out:
            out[...] = target
        return target if out is None else out

    # How ---------------------------------------------------------------------------------------

    def _can(self, a: Any, b: Any) -> bool:
        """Tell whether these are arrays that cuBLASLt multiplies, of shapes that fit."""
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
        self, a: Array, b: Array, out: Array, batch: tuple[int, ...], epilogue: str,
        bias: Array | None, accumulate: bool,
    ) -> None:  # fmt: skip
        a, b = self._laid_out(a), self._laid_out(b)
        split = split_batches(batch, [_along(x, batch) for x in (a, b, out)])
        if len(split.starts) > _MOST_CALLS:
            a, b = (self._spread(x, batch) for x in (a, b))
            split = split_batches(batch, [_along(x, batch) for x in (a, b, out)])
        size = a.dtype.itemsize
        pointers = [self._pointer(x) for x in (a, b, out)]
        alignments = [
            _alignment(pointer, step * size, *[start[i] * size for start in split.starts])
            for i, (pointer, step) in enumerate(zip(pointers, split.steps, strict=True))
        ]
        left, right, result = (
            Operand(*_layout(x), step, alignment)
            for x, step, alignment in zip((a, b, out), split.steps, alignments, strict=True)
        )
        bias = None if bias is None else self._xp.ascontiguousarray(bias)
        address = 0 if bias is None else self._pointer(bias)
        problem = Problem(
            a.shape[-2], b.shape[-1], a.shape[-1], split.count, left, right, result, a.dtype.name,
            a.dtype.name == "float32" and self._tf32(), epilogue, _alignment(address), accumulate,
        )  # fmt: skip
        stream = self._stream()
        for start in split.starts:
            at_a, at_b, at_out = (
                pointer + offset * size for pointer, offset in zip(pointers, start, strict=True)
            )
            if not self._lt.run(problem, at_a, at_b, at_out, stream, address):
                self._otherwise(a, b, out, batch, epilogue, bias, accumulate)
                return

    def _otherwise(
        self, a: Array, b: Array, out: Array, batch: tuple[int, ...], epilogue: str,
        bias: Array | None, accumulate: bool,
    ) -> None:  # fmt: skip
        """Compute what cuBLASLt has no algorithm for: in two steps, or by CuPy."""
        if epilogue:  # float64 has products, but few epilogues
            self._run(a, b, out, batch, "", None, accumulate=False)
            activation = epilogue.removesuffix("bias").removesuffix("+")
            self._finish(out, bias, activation or None)
        elif accumulate:
            out += self._xp.matmul(a, b)
        else:
            out[...] = self._xp.matmul(a, b)

    def _laid_out(self, x: Array) -> Array:
        """Return an array whose matrices cuBLASLt can read where they are; a copy if need be."""
        return x if operand(x.shape[-2:], _strides(x)[-2:]) else self._xp.ascontiguousarray(x)

    def _spread(self, x: Array, batch: tuple[int, ...]) -> Array:
        return self._xp.ascontiguousarray(self._xp.broadcast_to(x, (*batch, *x.shape[-2:])))

    def _without_sums(self, out: Array, bias: Array | None, activation: str | None) -> None:
        """Finish products over nothing."""
        out[...] = 0
        if out.size:
            self._finish(out, bias, activation)

    def _finish(self, out: Array, bias: Array | None, activation: str | None) -> None:
        if bias is not None:
            out += bias
        if activation == "relu":
            self._xp.maximum(out, 0, out=out)
        elif activation == "gelu":
            cubic = out * (1 + 0.044715 * out * out)
            out *= 0.5 * (1 + self._xp.tanh(math.sqrt(2 / math.pi) * cubic))


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
    """Tell whether a product can be written into an array directly."""
    if out.shape != shape or out.dtype != dtype:
        return False
    layout = operand(out.shape[-2:], _strides(out)[-2:])
    return layout is not None and not layout[0]


def _alignment(address: int, *offsets: int) -> int:
    """Largest power of two, up to 16 bytes, that an address and all offsets are multiples of."""
    bits = 16
    for number in (address, *offsets):
        bits |= number
    return bits & -bits
