"""Check a saved state against an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnlib.autograd import Tensor
from nnlib.errors import StateError, describe
from nnlib.optim.flat import state_dtype

if TYPE_CHECKING:
    from nnlib.optim.optimizer import Optimizer

__all__ = ["NOTES", "checked_state", "copied"]

#: Keys of a group besides its parameters and options; schedules set the learning rates.
NOTES = ("name", "initial_lr", "scheduled_lr")


def checked_state(
    optimizer: Optimizer, state: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[Tensor, dict[str, Any]]]:
    """Return the options of each group and the state of each parameter.

    Raises
    ------
    StateError
        If the state is of another optimizer or of other parameters.
    """
    groups = _checked_groups(optimizer, state)
    entries: dict[Tensor, dict[str, Any]] = {}
    position = 0
    for options, group in zip(groups, optimizer.param_groups, strict=True):
        needed = {"step", *optimizer.initial_state(options)}
        for p in group["params"]:
            if position in state["state"]:
                own = dict(state["state"][position])
                _check_entries(own, f"parameter {position}", p, needed, optimizer.slots)
                entries[p] = own
            position += 1
    unknown = set(state["state"]) - set(range(position))
    if unknown:
        raise StateError(
            f"the state must be of parameters 0 … {position - 1}. Received: "
            f"{', '.join(map(repr, unknown))}"
        )
    return groups, entries


def _checked_groups(optimizer: Optimizer, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not {"state", "param_groups"} <= set(state):
        raise StateError(
            "an optimizer's state must have 'state' and 'param_groups'. Received: "
            f"{', '.join(map(repr, state)) or 'nothing'}"
        )
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    received = [len(group["params"]) for group in state["param_groups"]]
    if sizes != received:
        raise StateError(
            f"the state must be of {len(sizes)} group(s) with {sizes} parameters. Received: "
            f"{received}"
        )
    result = []
    for group in state["param_groups"]:
        options = {name: value for name, value in group.items() if name != "params"}
        if set(options) - set(NOTES) != set(optimizer.defaults):
            raise StateError(
                f"the state must be of {type(optimizer).__name__}, with the options "
                f"{', '.join(optimizer.defaults)}. Received: {', '.join(options)}"
            )
        result.append(optimizer.checked(options))
    return result


def _check_entries(
    entries: dict[str, Any], owner: str, p: Tensor, needed: set[str], slots: tuple[str, ...]
) -> None:
    if not needed <= set(entries) <= {"step", *slots}:
        raise StateError(
            f"the state of {owner} must have {sorted(needed)}. Received: {sorted(entries)}"
        )
    if not isinstance(entries["step"], int) or entries["step"] < 0:
        raise StateError(
            f"the step count of {owner} must be an integer >= 0. Received: {entries['step']!r}"
        )
    for name in entries.keys() - {"step"}:
        if tuple(getattr(entries[name], "shape", (None,))) != p.shape:
            raise StateError(
                f"{name} of {owner} must have the shape {p.shape}. "
                f"Received: {describe(entries[name])}"
            )


def copied(value: Any, p: Tensor) -> Tensor:
    """Copy a tensor or array to a parameter's backend, in the dtype of its state."""
    if isinstance(value, Tensor):
        value = value.data if value.backend is p.backend else value.numpy()
    return Tensor(p.backend.asarray(value, dtype=state_dtype(p), copy=True), p.backend)
