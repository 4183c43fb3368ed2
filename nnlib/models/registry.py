"""Models by name, for the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from nnlib import nn
from nnlib.errors import OptionError, did_you_mean
from nnlib.models.lenet import LeNet5
from nnlib.models.mlp import MLP
from nnlib.models.vgg import VGG

__all__ = ["available", "create"]

_MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "lenet": LeNet5,
    "vgg11": partial(VGG, 11),
    "vgg13": partial(VGG, 13),
    "vgg16": partial(VGG, 16),
    "vgg19": partial(VGG, 19),
}


def available() -> tuple[str, ...]:
    """Names of models for `create`.

    Examples
    --------
    >>> available()
    ('mlp', 'lenet', 'vgg11', 'vgg13', 'vgg16', 'vgg19')
    """
    return tuple(_MODELS)


def create(name: str, **options: Any) -> nn.Module:
    """Make a model by its name.

    Parameters
    ----------
    name : str
        One of `available`.
    **options
        Those of the model's class; ``"mlp"`` needs ``sizes``.

    Raises
    ------
    OptionError
        If the name or an option is unknown, or a needed one is missing.

    Examples
    --------
    >>> create("mlp", sizes=(2, 3, 1), activation="tanh").sizes
    (2, 3, 1)
    """
    if name not in _MODELS:
        hint = did_you_mean(name, _MODELS)
        raise OptionError(
            f"the model must be one of {', '.join(_MODELS)}. Received: {name!r}.{hint}"
        )
    make = _MODELS[name]
    signature = inspect.signature(make)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise OptionError(f"{name} takes {signature}, and {error}. Received: {options}") from error
    return make(**options)
