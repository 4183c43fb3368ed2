"""Losses by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from inspect import signature
from numbers import Integral
from typing import Any, TypeAlias

from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, OptionError, did_you_mean
from nnlib.nn import Module
from nnlib.nn import functional as F

__all__ = ["LOSSES", "LossFunction", "get_loss"]

LossFunction: TypeAlias = "Callable[[Any, Tensor], Tensor | tuple[Tensor, Tensor | float]]"

LOSSES: dict[str, LossFunction] = {
    "cross_entropy": F.cross_entropy,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}


def get_loss(loss: str | LossFunction) -> LossFunction:
    """Return a loss by name; a module or function ``(output, target) → mean loss`` stays.

    Raises
    ------
    OptionError
        If there is no loss of that name.
    DTypeError
        If it is neither a name nor callable.

    Examples
    --------
    >>> get_loss("mse").__name__
    'mse_loss'
    """
    if isinstance(loss, str):
        if loss in LOSSES:
            return LOSSES[loss]
        hint = did_you_mean(loss, LOSSES)
        raise OptionError(f"a loss must be one of {', '.join(LOSSES)}. Received: {loss!r}.{hint}")
    if not callable(loss) or isinstance(loss, type):
        raise DTypeError(
            f"a loss must be a name, a module or a function (output, target). Received: {loss!r}"
            + (" (a class: write it with parentheses)" if isinstance(loss, type) else "")
        )
    return loss


def ignore_index_of(loss: LossFunction) -> int | None:
    """Return which label a loss ignores: its own ``ignore_index``, or that of a loss inside it.

    Examples
    --------
    >>> from functools import partial
    >>> from nnlib import nn
    >>> ignore_index_of(nn.CrossEntropyLoss(ignore_index=0))
    0
    >>> ignore_index_of(F.cross_entropy), ignore_index_of(partial(F.nll_loss, ignore_index=2))
    (-100, 2)
    """
    parts = loss.modules() if isinstance(loss, Module) else [loss]
    found = {part.ignore_index for part in parts if hasattr(part, "ignore_index")}
    if not found and not isinstance(loss, Module):
        with suppress(TypeError, ValueError):  # a function whose parameters nobody knows
            found = {
                parameter.default
                for name, parameter in signature(loss).parameters.items()
                if name == "ignore_index"
            }
    indices = [int(index) for index in found if isinstance(index, Integral)]
    return indices[0] if len(found) == 1 and indices else None
