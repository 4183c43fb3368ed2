"""Inference mode: evaluation without a tape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nnlib.autograd import no_grad
from nnlib.nn.module import Module

__all__ = ["inference"]


@contextmanager
def inference(model: Module) -> Iterator[None]:
    """Switch a model to evaluation without a tape; each layer returns to its own mode afterwards.

    Parameters
    ----------
    model : Module

    Examples
    --------
    >>> from nnlib import nn
    >>> model = nn.Sequential(nn.Dropout())
    >>> with inference(model):
    ...     model.training, model[0].training
    (False, False)
    >>> model.training, model[0].training
    (True, True)
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
