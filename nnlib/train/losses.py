"""Losses by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, OptionError, did_you_mean
from nnlib.nn import functional as F

__all__ = ["LOSSES", "LossFunction", "get_loss"]

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]

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
