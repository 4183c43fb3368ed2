"""Whether a saved state fits a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import describe

__all__ = ["misfits"]

_KINDS = {
    "f": "floating-point numbers",
    "i": "whole numbers",
    "u": "whole numbers",
    "b": "booleans",
}


def misfits(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> list[str]:
    """Say in words which values cannot be copied into the tensors of the same names.

    The shapes must be equal, and real numbers must not become whole ones or booleans, nor the other
    way round: such a file is of something else, for instance of quantised weights.

    Examples
    --------
    >>> import nnlib
    >>> misfits({"w": nnlib.zeros(2)}, {"w": nnlib.zeros(3)})
    ['w must be floating-point numbers of shape (2,), received float32 (3,)']
    """
    return [
        f"{name} must be {_KINDS[value.dtype.kind]} of shape {value.shape}, "
        f"received {_in_words(state[name])}"
        for name, value in own.items()
        if name in state and not _fits(state[name], value)
    ]


def _fits(value: Any, own: Tensor) -> bool:
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return False
    same_kind = _KINDS.get(value.dtype.kind) == _KINDS[own.dtype.kind]
    return same_kind and tuple(value.shape) == own.shape


def _in_words(value: Any) -> str:
    return describe(value) if hasattr(value, "shape") else type(value).__name__
