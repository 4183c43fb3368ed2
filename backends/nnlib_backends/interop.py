"""Arrays of libraries that are no backend, such as PyTorch's tensors, become NumPy arrays.

None of these libraries is imported here: their objects say themselves how they are converted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib_backends.base import Array
from nnlib_backends.errors import BackendMismatchError
from nnlib_backends.registry import owner_of

__all__ = ["detached", "from_library", "is_foreign", "on_host"]


def is_foreign(obj: Any) -> bool:
    """Tell whether something is an array of a library that is no backend.

    Examples
    --------
    >>> is_foreign(np.zeros(2)), is_foreign([0.0, 0.0])
    (False, False)
    """
    has_way = hasattr(obj, "__array__") or hasattr(obj, "__dlpack__")
    is_tensor = hasattr(obj, "__nnlib_apply__")  # one of nnlib's own
    if not has_way or is_tensor or isinstance(obj, type | np.generic):
        return False
    return owner_of(obj) is None


def detached(obj: Any) -> Any:
    """Return an array outside of its library's graph: PyTorch hands out no other."""
    return obj.detach() if hasattr(obj, "detach") else obj


def on_host(obj: Any) -> np.ndarray[Any, Any]:
    """Return a NumPy array of an array of any library; in its memory, if that is the host's.

    Floating-point numbers in a format that NumPy does not have, such as PyTorch's bfloat16, become
    float32, which has all their values.

    Raises
    ------
    BackendMismatchError
        If it cannot be converted.
    """
    try:
        obj = detached(obj)
        if hasattr(obj, "cpu"):  # PyTorch: from the memory of a GPU
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
    """Return an array of a backend as it is, and one of another library as a NumPy array.

    Examples
    --------
    >>> x = np.zeros(2)
    >>> from_library(x) is x
    True
    """
    return on_host(value) if is_foreign(value) else value
