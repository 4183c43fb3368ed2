"""Floating-point dtypes, and sums, means and sigmoids that keep their digits in each of them.

In mixed precision (`nnlib.autocast`) data have a half dtype and parameters stay in
float32.  A kernel with `KernelPair.half` takes such arguments as they are:

- it computes in float32, sums included;
- its result has the dtype of its first argument (a loss: float32);
- the gradient of each argument has the argument's dtype, also where it goes into a given array.
"""

from __future__ import annotations

import functools
import math
from contextvars import ContextVar
from typing import Any

__all__ = [
    "LOGISTIC",
    "LOW_DTYPES",
    "NORMAL",
    "average",
    "is_floating",
    "is_half",
    "log_of_total",
    "scattered",
    "sigmoid",
    "sigmoid_and_bell",
    "tf32_allowed",
    "total",
]

#: For larger |x| the distribution functions (of GELU, of SiLU) are 0 or 1 in any dtype.
NORMAL, LOGISTIC = 40.0, 800.0

LOW_DTYPES = ("float16", "bfloat16")  #: names of the dtypes of mixed precision

#: Whether factors of float32 may be rounded to TF32's 10-bit mantissa; None: the library's default.
tf32_allowed: ContextVar[bool | None] = ContextVar("nnlib_tf32_allowed", default=None)


@functools.cache  # called in every operation
def is_floating(dtype: Any) -> bool:
    """Tell whether a dtype is floating-point; bfloat16, which NumPy calls a void type, is one.

    Examples
    --------
    >>> import numpy as np
    >>> is_floating(np.dtype("float16")), is_floating(np.dtype("int64"))
    (True, False)
    """
    return bool(dtype.kind == "f" or (dtype.kind == "V" and dtype.name == "bfloat16"))


def is_half(x: Any) -> bool:
    """Tell whether a value is an array or tensor of 16-bit floating-point numbers.

    Examples
    --------
    >>> import numpy as np
    >>> is_half(np.zeros(2, "float16")), is_half(np.zeros(2, "int16")), is_half(0.5)
    (True, False, False)
    """
    dtype = getattr(x, "dtype", None)
    return dtype is not None and dtype.itemsize == 2 and is_floating(dtype)


MANY = 256  # longest sum of float32 numbers that may be computed one after the other


def total(xp: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum over one, several or all axes, with a relative error of about 1e-7 for any length.

    Array libraries add in pairs along the last axis only; along others a sum of a million float32
    numbers has four correct digits, so it is computed in float64.

    Examples
    --------
    >>> import numpy as np
    >>> total(np, np.full((1_000_000, 2), 100.3, np.float32), axis=0)
    array([1.003e+08, 1.003e+08], dtype=float32)
    """
    if _is_safe(xp, x, axis):
        return xp.sum(x, axis=axis, keepdims=keepdims)
    return xp.sum(x, axis=axis, dtype=xp.float64, keepdims=keepdims).astype(xp.float32)


def log_of_total(xp: Any, e: Any, axis: Any) -> Any:
    """``log(sum(e, keepdims=True))`` for e in [0, 1] whose maximum is 1, exact near ``sum(e) = 1``.

    Examples
    --------
    >>> import numpy as np
    >>> log_of_total(np, np.array([1.0, 1e-20]), axis=-1)
    array([1.e-20])
    """
    top = e >= 1
    others = total(xp, xp.where(top, 0, e), axis, keepdims=True)
    count = xp.sum(top, axis=axis, keepdims=True)
    return xp.log1p(others + (count - 1).astype(others.dtype))


def average(xp: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Arithmetic mean, as exact as `total`; NaN of an empty array.

    Examples
    --------
    >>> import numpy as np
    >>> average(np, np.full((1_000_000, 2), 100.3, np.float32), axis=0)
    array([100.3, 100.3], dtype=float32)
    """
    if not _count(x, axis):
        return xp.sum(x, axis=axis, keepdims=keepdims) + math.nan
    if _is_safe(xp, x, axis):
        return xp.mean(x, axis=axis, keepdims=keepdims)
    return xp.mean(x, axis=axis, dtype=xp.float64, keepdims=keepdims).astype(xp.float32)


def scattered(xp: Any, shape: tuple[int, ...], key: Any, values: Any) -> Any:
    """Zeros of a shape with values added at a key, as exact as `total`; indices may repeat.

    Examples
    --------
    >>> import numpy as np
    >>> scattered(np, (3,), np.array([0, 2, 0]), np.ones(3))
    array([2., 0., 1.])
    """
    dtype = values.dtype
    if is_half(values):
        dtype = xp.float32
    elif dtype == xp.float32 and values.size > MANY:
        dtype = xp.float64
    out = xp.zeros(shape, dtype=dtype)
    add_at = getattr(xp, "add_at", None) or xp.add.at
    add_at(out, key, values.astype(dtype, copy=False))
    return out.astype(values.dtype, copy=False)


def _is_safe(xp: Any, x: Any, axis: Any) -> bool:
    """Whether ``xp.sum`` is exact: other dtypes, few numbers, or a contiguous axis."""
    if getattr(x, "dtype", None) != xp.float32 or _count(x, axis) <= MANY:
        return True
    axes = axis if isinstance(axis, tuple) else (axis,)
    return bool(x.flags.c_contiguous and axes in ((None,), (-1,), (x.ndim - 1,)))


def _count(x: Any, axis: Any) -> int:
    """Return how many numbers are reduced to one."""
    shape = getattr(x, "shape", ())
    if axis is None:
        return math.prod(shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    # the array library refuses other axes
    named = [i for i in axes if hasattr(i, "__index__") and -len(shape) <= i < len(shape)]
    return math.prod(shape[i] for i in named)


def sigmoid(xp: Any, x: Any) -> Any:
    """``1 / (1 + exp(−x))`` without overflow, exact in the lower tail.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np, np.array([-1000.0, 0.0]))
    array([0. , 0.5])
    """
    return _logistic(xp, x, xp.exp(-xp.abs(x)))


def sigmoid_and_bell(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return the logistic function s and its derivative ``s (1 − s)``, exact also where s ≈ 1."""
    e = xp.exp(-xp.abs(x))
    return _logistic(xp, x, e), e / ((1 + e) * (1 + e))


def _logistic(xp: Any, x: Any, e: Any) -> Any:
    """Return ``sigmoid(x)`` from ``e = exp(−|x|)``."""
    return xp.where(x < 0, e, 1) / (1 + e)
