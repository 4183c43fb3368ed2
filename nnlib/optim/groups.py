"""Groups of parameters by name, each with options of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnlib.errors import DTypeError, OptionError
from nnlib.patterns import matching

if TYPE_CHECKING:
    from nnlib.nn import Module

__all__ = ["param_groups"]


def param_groups(
    model: Module, options: Mapping[str, float | Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give parts of a model learning rates, or other options, of their own.

    Small rates for what was learned before and larger ones for what is new are called
    discriminative fine-tuning (Howard & Ruder, "Universal language model fine-tuning for text
    classification", ACL 2018, §3.2).  A schedule scales the rate of every group.

    Parameters
    ----------
    model : Module
    options : mapping of str to float or dict
        Pattern of names, as of `nnlib.nn.freeze` → learning rate, or options of the optimizer.  A
        parameter belongs to the first pattern that matches.

    Returns
    -------
    list of dict
        For any optimizer.  Frozen parameters are in it, too, and are skipped until they are
        unfrozen.

    Raises
    ------
    OptionError
        If a pattern matches nothing, or a parameter no pattern (``"*"`` at the end takes the rest).

    Examples
    --------
    >>> from nnlib import nn, optim
    >>> model = nn.Sequential({"features": nn.Linear(4, 3), "head": nn.Linear(3, 2)})
    >>> groups = param_groups(model, {"features.*": 1e-4, "*": {"lr": 1e-3, "weight_decay": 0.1}})
    >>> optim.AdamW(groups, weight_decay=0.0)
    AdamW(
      2 parameters: lr=0.0001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, amsgrad=False
      2 parameters: lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.1, amsgrad=False
    )
    """
    if not isinstance(options, Mapping):
        raise DTypeError(
            "options must be a mapping of patterns to learning rates, such as "
            f"{{'features.*': 1e-4, '*': 1e-3}}. Received: {type(options).__name__}"
        )
    left = dict(model.named_parameters())
    names = list(left)
    groups = []
    for pattern, given in options.items():
        chosen = [left.pop(name) for name in matching(pattern, names) if name in left]
        if chosen:
            own = dict(given) if isinstance(given, Mapping) else {"lr": given}
            groups.append({"params": chosen, **own})
    if left:
        raise OptionError(
            "every parameter must match a pattern; '*' at the end takes the rest. "
            f"Received: {', '.join(options) or 'none'}, which leave out {', '.join(left)}"
        )
    return groups
