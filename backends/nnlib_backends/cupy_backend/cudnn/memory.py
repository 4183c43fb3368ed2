"""Alignment and dtypes of the arrays of cuDNN's kernels."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array, GradOut, GradsOut, KernelPair, anywhere
from nnlib_backends.cupy_backend.cudnn.planner import pointer
from nnlib_backends.dtypes import is_half

__all__ = ["aligned", "delivered", "in_float32", "is_aligned"]

_ALIGNMENT = 16  # bytes: cuDNN's kernels load 128 bits at a time


def is_aligned(array: Array) -> bool:
    """Tell whether the address of an array is aligned for cuDNN."""
    return pointer(array) % _ALIGNMENT == 0


def aligned(xp: Any, array: Array, dtype: Any = None) -> Array:
    """Return a contiguous, aligned array of a dtype: the array itself or a copy.

    A view of a flat buffer can begin at any element.
    """
    array = xp.ascontiguousarray(array, dtype=dtype)
    return array if is_aligned(array) else array.copy()


def delivered(gradient: Array | None, out: GradOut | None, dtype: Any) -> Array | None:
    """Return a gradient in its dtype, where it must lie.

    Examples
    --------
    >>> import numpy as np
    >>> array = np.zeros(2, np.float32)
    >>> delivered(np.ones(2, np.float16), GradOut(array), array.dtype) is array
    True
    >>> delivered(np.ones(2, np.float16), GradOut(), np.dtype("float32"))
    array([1., 1.], dtype=float32)
    """
    if gradient is None or out is None:
        return None
    if out.array is None and gradient.dtype != dtype:
        return gradient.astype(dtype)
    return out.store(gradient)


def in_float32(kernel: KernelPair) -> KernelPair:
    """Return a kernel pair for mixed precision that computes by one for float32.

    Arrays of half dtypes are converted; results and gradients are rounded to their dtypes.

    Examples
    --------
    >>> import numpy as np
    >>> double = KernelPair(lambda x: (2 * x, None), lambda g, saved, grads_out, x: (2 * g,))
    >>> in_float32(double).forward(np.ones(2, np.float16))
    (array([2., 2.], dtype=float16), None)
    """

    def wide(array: Any) -> Any:
        return array.astype("float32") if is_half(array) else array

    def forward(*arrays: Any, **options: Any) -> tuple[Array, Any]:
        y, saved = kernel.forward(*map(wide, arrays), **options)
        return y.astype(arrays[0].dtype) if is_half(arrays[0]) else y, saved

    def backward(
        g: Array, saved: Any, grads_out: GradsOut, *arrays: Any, **options: Any
    ) -> list[Array | None]:
        outs = anywhere(grads_out)
        found = kernel.backward(wide(g), saved, outs, *map(wide, arrays), **options)
        return [
            None if array is None else delivered(gradient, out, array.dtype)
            for gradient, out, array in zip(found, grads_out, arrays, strict=True)
        ]

    return KernelPair(forward, backward, half=True, writes=True)
