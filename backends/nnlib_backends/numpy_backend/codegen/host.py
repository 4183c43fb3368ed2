"""Checks and memory for the Python part of several kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib_backends.base import GradOut
from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.launch import Array

__all__ = ["ELEMENTS", "grad_memory", "is_float32", "long_integers", "require"]

ELEMENTS = 1 << 15  #: numbers of a chunk, at least, for kernels with little work for each


def grad_memory(out: GradOut | None, shape: tuple[int, ...]) -> Array | None:
    """Return where a kernel writes a gradient: the given array, new memory, or ``None``.

    Examples
    --------
    >>> grad_memory(None, (2,)) is None, grad_memory(GradOut(), (2,)).shape
    (True, (2,))
    """
    if out is None:
        return None
    return launch.empty(shape) if out.array is None else out.array


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
    """Return integers as int64, C-contiguous.

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
    """Check that a kernel stays inside its arrays.

    Raises
    ------
    ValueError
        If the condition does not hold; operations replace it by an error with all shapes.
    """
    if not condition:
        raise ValueError(f"{what} is needed")
