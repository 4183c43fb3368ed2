"""Check the arguments of optimizers and schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, OptionError

__all__ = ["Range", "list_of_tensors"]


@dataclass(frozen=True)
class Range:
    """The values that a numeric option may have.

    Attributes
    ----------
    low, high : float
        Both included, unless ``below`` is set.
    below : bool
        Exclude ``high``.
    infinite : bool
        Allow infinity, too.

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
    infinite: bool = False

    def check(self, name: str, value: Any) -> float:
        """Return the value as a Python float, which never promotes a float32 array."""
        if isinstance(value, Real):
            number = float(value)
            inside = number < self.high if self.below else number <= self.high
            if inside and self.low <= number and (number < math.inf or self.infinite):
                return number
        raise OptionError(f"{name} must be a number {self._text()}. Received: {value!r}")

    def _text(self) -> str:
        if self.high == math.inf:
            return f">= {self.low:g}"
        return f"in {self.low:g} … {self.high:g}{' (excluded)' if self.below else ''}"


def list_of_tensors(what: str, params: Any) -> list[Tensor]:
    """Return a tensor, or an iterable of tensors, as a new list.

    Raises
    ------
    DTypeError
        If ``params`` is neither.
    OptionError
        If it is an exhausted iterator.  A list may be empty.

    Examples
    --------
    >>> from nnlib import nn
    >>> parameters = nn.Linear(2, 1).parameters()
    >>> len(list_of_tensors("params", parameters))
    2
    >>> list_of_tensors("params", parameters)
    Traceback (most recent call last):
    nnlib.errors.OptionError: params must be tensors. Received: an iterator that gives none (was \
model.parameters() used up before?). Call it again, or keep a list
    """
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, Mapping | str) or not isinstance(params, Iterable):
        hint = ". Give its parameters()" if hasattr(params, "parameters") else ""
        raise DTypeError(
            f"{what} must be a tensor or an iterable of tensors. "
            f"Received: {type(params).__name__}{hint}"
        )
    tensors = list(params)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            hint = " (give model.parameters() without names)" if isinstance(tensor, tuple) else ""
            raise DTypeError(f"{what} must be tensors. Received: {type(tensor).__name__}{hint}")
    if not tensors and isinstance(params, Iterator):
        raise OptionError(
            f"{what} must be tensors. Received: an iterator that gives none (was "
            "model.parameters() used up before?). Call it again, or keep a list"
        )
    return tensors
