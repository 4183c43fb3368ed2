"""What the host code of several kernels has in common: it looks at shapes and takes memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.launch import Array

__all__ = ["ELEMENTS", "is_float32", "long_integers", "place", "require"]

ELEMENTS = 1 << 15  #: least numbers of a chunk, for kernels that do little with each


def place(need: Any, shape: tuple[int, ...]) -> Array | None:
    """Return where a gradient is to be written: the array in ``needs``, or new memory, or None.

    Examples
    --------
    >>> place(False, (2,)) is None, place(True, (2,)).shape
    (True, (2,))
    """
    if need is False:
        return None
    return need if isinstance(need, np.ndarray) else launch.empty(shape)


def is_float32(*values: Any) -> bool:
    """Tell whether all values are float32 arrays.

    Examples
    --------
    >>> is_float32(np.zeros(2, np.float32)), is_float32(np.zeros(2)), is_float32(1.0)
    (True, False, False)
    """
    for x in values:  # noqa: SIM110 - a generator would be called for each value
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            return False
    return True


def long_integers(x: Array) -> Array:
    """Return integers as kernels read them: int64, C-contiguous.

    Examples
    --------
    >>> long_integers(np.array([1, 2], np.uint8)).dtype
    dtype('int64')
    """
    if x.dtype == np.int64:
        return launch.dense(x)
    copy = launch.empty(x.shape, np.int64)
    launch.call(np.copyto, copy, x, "unsafe")
    return copy


def require(condition: bool, what: str) -> None:
    """Refuse shapes with which a kernel would leave its arrays.

    Raises
    ------
    ValueError
        If the condition does not hold; operations turn it into an error with all shapes.
    """
    if not condition:
        raise ValueError(f"{what} is needed")
