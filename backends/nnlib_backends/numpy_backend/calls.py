"""What a recording consists of: entries, and the storages that they work on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnlib_backends.common.trace import View
from nnlib_backends.numpy_backend.launch import Array

__all__ = ["Buffer", "Call", "address"]


@dataclass(eq=False)
class Buffer:
    """Memory that was taken while recording.

    Attributes
    ----------
    number : int
        In order of taking.
    nbytes : int
    first, last : int
        The entries that touch it, from where to where; ``first > last`` if none does.
    kept : bool
        Whether it must hold its values when a replay is over.
    """

    number: int
    nbytes: int
    owner: Any
    first: int = sys.maxsize
    last: int = -1
    kept: bool = False


@dataclass(frozen=True)
class Call:
    """Something to do in a replay.

    Attributes
    ----------
    function : CpuKernel or callable
    args, options
        Arguments, arrays replaced by places where they have one.
    results : list of Place or None
        Where the function's results go; ``None`` if it returns nothing.
    line : str
        The user's line that it came from.
    items, chunks : int
        Of a launch, whose ``function`` is a kernel; else 0.
    """

    function: Any
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    results: list[View] | None = None
    line: str = ""
    items: int = 0
    chunks: int = 0

    @property
    def title(self) -> str:
        """What is done: the kernel's name, or the operation or function that Python calls."""
        if self.items:
            return str(self.function.name)
        named = (a.name for a in self.args if hasattr(a, "name") and not isinstance(a, np.ndarray))
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"{next(named, name)} (Python)"


def address(array: Array) -> int:
    """Where the first element is."""
    return int(array.__array_interface__["data"][0])
