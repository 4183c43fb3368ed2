"""Floating-point formats: which dtypes are floating-point, and how exact products must be.

In mixed precision (`nnlib.autocast`) data have a *low* dtype of 16 bits and parameters stay in
float32.  A kernel in `Backend.mixed` takes such arguments as they are:

- it computes, above all its sums, in float32;
- its result has the dtype of its first argument (a loss: float32);
- the gradient of each argument has the argument's dtype, also where it goes into a given array.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["LOW_DTYPES", "is_floating", "is_low", "tf32_allowed"]

LOW_DTYPES = ("float16", "bfloat16")  #: names of the dtypes of mixed precision

#: Whether float32 products may be rounded to TF32's 10-bit mantissa; None: as the library is set.
tf32_allowed: ContextVar[bool | None] = ContextVar("nnlib_tf32_allowed", default=None)


def is_floating(dtype: Any) -> bool:
    """Tell whether a dtype is floating-point; bfloat16, which NumPy calls a void type, is one.

    Examples
    --------
    >>> import numpy as np
    >>> is_floating(np.dtype("float16")), is_floating(np.dtype("int64"))
    (True, False)
    """
    return bool(dtype.kind == "f" or dtype.name == "bfloat16")


def is_low(x: Any) -> bool:
    """Tell whether a value is an array or tensor of 16-bit floating-point numbers.

    Examples
    --------
    >>> import numpy as np
    >>> is_low(np.zeros(2, "float16")), is_low(np.zeros(2, "int16")), is_low(0.5)
    (True, False, False)
    """
    dtype = getattr(x, "dtype", None)
    return dtype is not None and dtype.itemsize == 2 and is_floating(dtype)
