"""`LRScheduler`: the base class, with the learning rate as a function of the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib.errors import DTypeError, OptionError, StateError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range

__all__ = ["LRScheduler"]


class LRScheduler:
    """Base class: sets ``"lr"`` of every group as a function of the number of steps.

    The constructor sets the first value; call `step` after each step of the optimizer, or after
    each epoch.  The learning rate is computed from the initial one, whatever ``"lr"`` was between.

    Parameters
    ----------
    optimizer : Optimizer
        The groups' ``"lr"`` are the initial learning rates, which are stored as ``"initial_lr"``.
        A later schedule of the same optimizer starts with these, unless ``"lr"`` was set by hand.

    Attributes
    ----------
    last_epoch : int
        Number of calls of `step`.
    base_lrs : list of float
        Initial learning rate of each group.

    Raises
    ------
    DTypeError
        If ``optimizer`` is not one.
    OptionError
        If a group's ``"lr"`` is no learning rate; at a step, if the optimizer has fewer groups.

    Examples
    --------
    >>> from nnlib import nn, optim
    >>> class Halving(LRScheduler):
    ...     def rate(self, base_lr, step, group):
    ...         return base_lr * 0.5**step
    >>> schedule = Halving(optim.SGD(nn.Linear(1, 1).parameters(), lr=0.8))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.4]
    """

    def __init__(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.last_epoch = 0
        self.base_lrs: list[float] = []
        self.apply()

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate of a group after a number of steps; subclasses define it."""
        raise NotImplementedError  # abstract

    def apply(self) -> None:
        """Set the learning rates of the current step."""
        self.optimizer._sync_groups()
        groups = self.optimizer.param_groups
        if len(groups) < len(self.base_lrs):
            raise OptionError(
                f"the schedule was made for {len(self.base_lrs)} groups of parameters. Received: "
                f"an optimizer with {len(groups)}. Make a new schedule"
            )
        for group in groups[len(self.base_lrs) :]:  # those added since the last call
            self.base_lrs.append(_initial_rate(group))
        for index, (group, base_lr) in enumerate(zip(groups, self.base_lrs, strict=True)):
            set_rate(group, self.rate(base_lr, self.last_epoch, index))

    def step(self) -> None:
        """Advance by one step (or epoch)."""
        self.last_epoch += 1
        self.apply()

    def get_last_lr(self) -> list[float]:
        """Return the current learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the position as numbers and lists, which JSON supports."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the result of `state_dict`, and set its learning rates.

        Raises
        ------
        StateError
            If it is the state of another schedule, or of another number of groups.
        """
        self.check_state(state)
        self.last_epoch = int(state["last_epoch"])
        self.base_lrs = [float(lr) for lr in state["base_lrs"]]
        self.apply()

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise `StateError` unless `load_state_dict` can use the state."""
        expected = self.state_dict()
        if set(state) != set(expected):
            raise StateError(
                f"the state of {type(self).__name__} must have {sorted(expected)}. "
                f"Received: {sorted(state)}"
            )
        for name, own in expected.items():
            if not _alike(own, state[name]):
                raise StateError(
                    f"{name} of {type(self).__name__} must be like {own!r}. "
                    f"Received: {state[name]!r:.60}"
                )
        groups = len(self.optimizer.param_groups)
        if "base_lrs" in expected and len(state["base_lrs"]) != groups:
            raise StateError(
                f"base_lrs must have one learning rate for each of {groups} groups. "
                f"Received: {state['base_lrs']!r}"
            )


def _initial_rate(group: dict[str, Any]) -> float:
    """Return the initial learning rate: the first schedule's, or one set by hand since then."""
    now = Range().check("lr", group.get("lr"))
    if now != group.get("scheduled_lr", now):
        group["initial_lr"] = now
    rate: float = group.setdefault("initial_lr", now)
    return rate


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set a group's learning rate, and mark it as set by a schedule."""
    group["lr"] = group["scheduled_lr"] = rate


def _alike(own: Any, value: Any) -> bool:
    """Whether two values have the same type: a number, or a list of numbers."""
    if isinstance(own, list) and isinstance(value, list):
        return not own or all(_alike(own[0], item) for item in value)
    if isinstance(own, bool) or not isinstance(own, int | float | None):
        return isinstance(value, type(own))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(own, int):
        return number and isinstance(value, int)
    return value is None or (number and value == value)


def check_optimizer(optimizer: Any) -> None:
    """Check that the argument is an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(
            f"a schedule needs an optimizer as its first argument. Received: {optimizer!r}"
        )
