"""Whether factors of float32 may be rounded to TF32's 10-bit mantissa."""

from __future__ import annotations

import numpy as np

from nnlib_backends.dtypes import tf32_allowed

__all__ = ["tf32_is_allowed"]


def tf32_is_allowed() -> bool:
    """Return `tf32_allowed`, whose default here is CuPy's ``CUPY_TF32=1``."""
    allowed = tf32_allowed.get()
    if allowed is not None:
        return allowed
    from cupy._core import _routines_linalg as linalg

    return bool(linalg.get_compute_type(np.dtype(np.float32)) == linalg.COMPUTE_TYPE_TF32)
