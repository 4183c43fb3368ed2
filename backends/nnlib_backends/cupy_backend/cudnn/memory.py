"""Arrays as cuDNN takes them, and gradients as nnlib wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlib_backends.base import Array, KernelPair
from nnlib_backends.cupy_backend.cudnn.planner import pointer
from nnlib_backends.dtypes import is_half

__all__ = ["aligned", "delivered", "in_float32", "is_aligned"]

_ALIGNMENT = 16  # bytes; cuDNN's kernels load 128 bits at a time


def is_aligned(array: Array) -> bool:
    """Tell whether cuDNN may load from where an array begins."""
    return pointer(array) % _ALIGNMENT == 0


def aligned(xp: Any, array: Array, dtype: Any = None) -> Array:
    """Return an array that is contiguous, of a dtype, and begins where cuDNN may load from.

    A view into a flat buffer of parameters can begin at any element.
    """
    array = xp.ascontiguousarray(array, dtype=dtype)
    return array if is_aligned(array) else array.copy()


def delivered(gradient: Array, need: Any, dtype: Any) -> Array:
    """Return a gradient in its dtype, and where the optimizer wants to find it.

    Parameters
    ----------
    gradient : array
    need : True or array
        See `nnlib_backends.base.KernelPair`.
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> home = np.zeros(2, np.float32)
    >>> delivered(np.ones(2, np.float16), home, home.dtype) is home
    True
    >>> delivered(np.ones(2, np.float16), True, np.dtype("float32"))
    array([1., 1.], dtype=float32)
    """
    if need is True:
        return gradient if gradient.dtype == dtype else gradient.astype(dtype)
    if need is not gradient:
        need[...] = gradient
    return need


def in_float32(kernel: KernelPair) -> KernelPair:
    """Return a kernel for mixed precision, made of one that knows float32 only.

    All arrays of 16 bits are widened; results and gradients are rounded to the dtypes that they
    must have.

    Examples
    --------
    >>> import numpy as np
    >>> double = KernelPair(lambda x: (2 * x, None), lambda g, saved, needs, x: (2 * g,))
    >>> in_float32(double).forward(np.ones(2, np.float16))
    (array([2., 2.], dtype=float16), None)
    """

    def wide(array: Any) -> Any:
        return array.astype("float32") if is_half(array) else array

    def forward(*arrays: Any, **options: Any) -> tuple[Array, Any]:
        y, saved = kernel.forward(*map(wide, arrays), **options)
        return y.astype(arrays[0].dtype) if is_half(arrays[0]) else y, saved

    def backward(
        g: Array, saved: Any, needs: Sequence[Any], *arrays: Any, **options: Any
    ) -> list[Array | None]:
        wanted = [need is not False for need in needs]
        found = kernel.backward(wide(g), saved, wanted, *map(wide, arrays), **options)
        return [
            None if need is False or gradient is None else delivered(gradient, need, array.dtype)
            for gradient, need, array in zip(found, needs, arrays, strict=True)
        ]

    return KernelPair(forward, backward)
