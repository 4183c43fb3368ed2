"""Conversion of other libraries' arrays, such as PyTorch's tensors, without importing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib_backends.base import Array
from nnlib_backends.errors import BackendMismatchError
from nnlib_backends.registry import owner_of

__all__ = ["detached", "from_library", "is_foreign", "on_host"]


def is_foreign(obj: Any) -> bool:
    """Tell whether an object is an array of a library that is not a backend.

    Examples
    --------
    >>> is_foreign(np.zeros(2)), is_foreign([0.0, 0.0])
    (False, False)
    """
    converts = hasattr(obj, "__array__") or hasattr(obj, "__dlpack__")
    is_tensor = hasattr(obj, "__nnlib_apply__")
    if not converts or is_tensor or isinstance(obj, type | np.generic):
        return False
    return owner_of(obj) is None


def detached(obj: Any) -> Any:
    """Return an array detached from PyTorch's graph, as conversion requires."""
    return obj.detach() if hasattr(obj, "detach") else obj


def on_host(obj: Any) -> np.ndarray[Any, Any]:
    """Convert an array of any library to NumPy, without a copy if it is in the host's memory.

    Floating-point dtypes that NumPy lacks, such as PyTorch's bfloat16, become float32.

    Raises
    ------
    BackendMismatchError
        If it cannot be converted.
    """
    try:
        obj = detached(obj)
        if hasattr(obj, "cpu"):  # PyTorch
            obj = obj.cpu()
        if not hasattr(obj, "__array__"):
            return np.from_dlpack(obj)
        try:
            return np.asarray(obj)
        except TypeError:
            if hasattr(obj, "float"):
                return np.asarray(obj.float())
            raise
    except MemoryError:
        raise
    except Exception as error:
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
        raise BackendMismatchError(f"an array of {kind} could not be converted: {error}") from error


def from_library(value: Any) -> Array:
    """Convert an array of a library that is not a backend to NumPy; return others unchanged.

    Examples
    --------
    >>> x = np.zeros(2)
    >>> from_library(x) is x
    True
    """
    return on_host(value) if is_foreign(value) else value
