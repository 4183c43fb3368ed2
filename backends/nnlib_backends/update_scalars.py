"""Order of the scalars in the array that an optimizer's update takes, for every backend."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

__all__ = ["SCALARS", "positions"]

SCALARS = {
    "adagrad": ("lr", "eps", "weight_decay"),
    "adam": (
        "step_size", "eps", "beta1", "one_minus_beta1", "beta2", "one_minus_beta2", "decay",
    ),
    "rmsprop": ("lr", "alpha", "one_minus_alpha", "eps", "weight_decay", "momentum"),
    "sgd": ("lr", "momentum", "one_minus_dampening", "weight_decay"),
}  # fmt: skip


def positions(update: str) -> Any:
    """Return a named tuple: name of an update's scalar → its position.

    Examples
    --------
    >>> positions("sgd").momentum
    1
    """
    names = SCALARS[update]
    return namedtuple(update, names)(*range(len(names)))
