"""Parameter groups with their own options: made from patterns of names, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from operator import is_
from typing import TYPE_CHECKING, Any, TypeAlias

from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, GradientError, OptionError, describe, did_you_mean
from nnlib.optim.options import list_of_tensors
from nnlib.optim.state_dict import NOTES
from nnlib.patterns import matching
from nnlib_backends.dtypes import is_floating

if TYPE_CHECKING:
    from nnlib.nn import Module
    from nnlib.optim.optimizer import Optimizer

__all__ = ["param_groups"]

#: Pairs (group, its parameters at that time).
Snapshot: TypeAlias = list[tuple[dict[str, Any], list[Tensor]]]


def param_groups(
    model: Module, options: Mapping[str, float | Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Make parameter groups with their own learning rates or other options.

    Discriminative fine-tuning uses small learning rates for pretrained layers and larger ones for
    new layers (Howard & Ruder, "Universal language model fine-tuning for text classification", ACL
    2018, §3.2).  A schedule scales the learning rate of every group.

    Parameters
    ----------
    model : Module
    options : mapping of str to float or dict
        Pattern of names, see `nnlib.nn.freeze` → learning rate, or options of the optimizer.  A
        parameter belongs to the first pattern that matches.

    Returns
    -------
    list of dict
        Groups for an optimizer, including frozen parameters, which it skips.

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


def as_groups(params: Any) -> list[dict[str, Any]]:
    """Return an optimizer's argument ``params`` as a list of groups."""
    refused = (Tensor, Mapping, str, Set)  # the order of a set differs between processes
    if isinstance(params, refused) or not isinstance(params, Iterable):
        raise DTypeError(
            "params must be an iterable of tensors or of groups, such as model.parameters(), with "
            "an order. "
            f"Received: {describe(params) if isinstance(params, Tensor) else type(params).__name__}"
        )
    items = list(params)
    return items if items and isinstance(items[0], Mapping) else [{"params": items}]


def checked_group(optimizer: Optimizer, group: Any, taken: set[int]) -> dict[str, Any]:
    """Return a group with a list of parameters, none of them ``taken``, and all options."""
    if not isinstance(group, Mapping) or "params" not in group:
        raise OptionError(f"a group must be a dict with 'params'. Received: {describe(group)}")
    given = {name: value for name, value in group.items() if name != "params"}
    _check_known(optimizer, given)
    params = list_of_tensors("the parameters of a group", group["params"])
    if not params:
        raise OptionError(
            "an optimizer needs at least one parameter in each group. Received: none (was an "
            "iterator such as model.parameters() used up before?)"
        )
    for p in params:
        _check_parameter(p)
        if id(p) in taken:
            raise OptionError(f"a parameter must be given once. Received twice: {describe(p)}")
        taken.add(id(p))
    return {"params": params, **optimizer.checked(optimizer.defaults | given)}


def edited_group(optimizer: Optimizer, group: Any, taken: set[int]) -> dict[str, Any]:
    """Check a group that was edited by hand; its list of parameters may be empty."""
    params = group.get("params") if isinstance(group, Mapping) else None
    if type(params) is not list:
        return checked_group(optimizer, group, taken)
    return {**(checked_group(optimizer, group, taken) if params else group), "params": params}


def snapshot(groups: list[dict[str, Any]]) -> Snapshot:
    """Return a snapshot of groups for `is_unchanged`."""
    return [(group, [*group["params"]]) for group in groups]


def is_unchanged(groups: list[dict[str, Any]], before: Snapshot) -> bool:
    """Whether groups and their lists of parameters equal a snapshot."""
    if len(groups) != len(before):
        return False
    for i, (group, params) in enumerate(before):
        now = group.get("params") if group is groups[i] else None
        if type(now) is not list or len(now) != len(params) or not all(map(is_, now, params)):
            return False
    return True


def check_names(optimizer: Optimizer, group: dict[str, Any]) -> None:
    """Check that a group has all options of its optimizer, and no others."""
    _check_known(optimizer, group.keys() - {"params"})
    missing = [name for name in optimizer.defaults if name not in group]
    if missing:
        raise OptionError(
            f"a group must have the options {', '.join(optimizer.defaults)}. "
            f"Received: one without {', '.join(missing)}"
        )


def _check_known(optimizer: Optimizer, names: Iterable[str]) -> None:
    for name in names:
        if name not in optimizer.defaults and name not in NOTES:
            raise OptionError(
                f"{type(optimizer).__name__} has the options {', '.join(optimizer.defaults)}. "
                f"Received: {name!r}.{did_you_mean(name, optimizer.defaults)}"
            )


def _check_parameter(p: Tensor) -> None:
    if not p.is_leaf:
        raise GradientError(
            "a parameter must be a leaf, not the result of an operation. Use detach() and "
            f"requires_grad=True. Received: {describe(p)}"
        )
    if not is_floating(p.dtype):
        raise DTypeError(f"a parameter must be floating-point. Received: {describe(p)}")
