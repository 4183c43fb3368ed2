"""Comparing a replay with the function itself."""

from __future__ import annotations

from typing import Any, Protocol

from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["Audit", "unequal"]


class Audit(Protocol):
    """What a function changes, so that a replay can be compared with the function itself."""

    def state(self) -> dict[str, Array] | None:
        """Copy all that it changes, by name; None if there is no room for that."""

    def restore(self, state: dict[str, Array]) -> None:
        """Put a copy back."""


def unequal(backend: Backend, these: dict[str, Any], those: dict[str, Any]) -> list[str]:
    """Return the names of arrays and other values that are not the same, bit by bit."""
    xp, unlike, flags = backend.xp, [], {}
    for name in {**these, **those}:
        one: Any = these.get(name)
        other: Any = those.get(name)
        arrays = hasattr(one, "dtype") + hasattr(other, "dtype")
        if arrays < 2:
            unlike += [] if one is other or (not arrays and one == other) else [name]
        elif one.dtype != other.dtype or one.shape != other.shape:
            unlike.append(name)
        elif one.size:
            bits = f"u{one.dtype.itemsize}"
            flags[name] = (one.view(bits) != other.view(bits)).any()
    if flags:  # read at once
        found = backend.to_numpy(xp.stack([backend.asarray(flag) for flag in flags.values()]))
        unlike += [name for name, flag in zip(flags, found, strict=True) if flag]
    return unlike
