"""Checks of the numbers that optimizers and schedules are configured with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from nnlib.errors import OptionError

__all__ = ["Range", "positive_integer"]


@dataclass(frozen=True)
class Range:
    """The values that a numeric option may have.

    Attributes
    ----------
    low, high : float
        Both included, unless ``below`` is set. Infinity itself is never allowed.
    below : bool
        Exclude ``high``.

    Examples
    --------
    >>> Range(0.0, 1.0).check("momentum", 1)
    1.0
    >>> Range().check("lr", -1.0)
    Traceback (most recent call last):
    nnlib.errors.OptionError: lr must be a number >= 0. Received: -1.0
    """

    low: float = 0.0
    high: float = math.inf
    below: bool = False

    def check(self, name: str, value: Any) -> float:
        """Return the value as a Python float, which never promotes a float32 array."""
        if isinstance(value, Real):
            number = float(value)
            inside = number < self.high if self.below else number <= self.high
            if inside and self.low <= number < math.inf:
                return number
        raise OptionError(f"{name} must be a number {self._text()}. Received: {value!r}")

    def _text(self) -> str:
        if self.high == math.inf:
            return f">= {self.low:g}"
        return f"in {self.low:g} … {self.high:g}{' (excluded)' if self.below else ''}"


def positive_integer(name: str, value: Any) -> int:
    """Return the value if it is an integer of at least 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise OptionError(f"{name} must be a positive integer. Received: {value!r}")
