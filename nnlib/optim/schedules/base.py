"""What all schedules share: a learning rate for each step, computed in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib.errors import DTypeError, OptionError, StateError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range

__all__ = ["LRScheduler"]


class LRScheduler:
    """Base class: sets ``"lr"`` of every group as a function of the number of steps.

    The first value is set when the schedule is made; call `step` after the optimizer's step (or
    after each epoch: a schedule counts whatever you call it for).  The rate is computed from the
    initial one, so it does not matter what happened to ``"lr"`` in between.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups' ``"lr"`` are the initial rates, remembered there as ``"initial_lr"``.  A later
        schedule of the same optimizer begins with the same initial rates, unless ``"lr"`` was set
        by hand in between: then with that.

    Attributes
    ----------
    last_epoch : int
        How often `step` was called.
    base_lrs : list of float
        The initial rate of each group.

    Raises
    ------
    DTypeError
        If ``optimizer`` is not one.
    OptionError
        If a group's ``"lr"`` is no rate; at a step, if the optimizer has lost a group since then.

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
        """Set the learning rates for the present step."""
        self.optimizer._take_over_groups()
        groups = self.optimizer.param_groups
        if len(groups) < len(self.base_lrs):
            raise OptionError(
                f"the schedule was made for {len(self.base_lrs)} groups of parameters. Received: "
                f"an optimizer with {len(groups)}. Make a new schedule"
            )
        for group in groups[len(self.base_lrs) :]:  # all at first; later those added since
            self.base_lrs.append(_initial_rate(group))
        for index, (group, base_lr) in enumerate(zip(groups, self.base_lrs, strict=True)):
            set_rate(group, self.rate(base_lr, self.last_epoch, index))

    def step(self) -> None:
        """Go on by one step (or epoch)."""
        self.last_epoch += 1
        self.apply()

    def get_last_lr(self) -> list[float]:
        """Return the present learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the position: numbers and lists only, which JSON can hold."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a position that `state_dict` returned, and set its learning rates.

        Raises
        ------
        StateError
            If it is not the state of such a schedule, or of another number of groups.
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
                f"base_lrs must have one rate for each of {groups} groups. "
                f"Received: {state['base_lrs']!r}"
            )


def _initial_rate(group: dict[str, Any]) -> float:
    """Return where a new schedule begins: the first one's rate, or one set by hand since then."""
    now = Range().check("lr", group.get("lr"))
    if now != group.get("scheduled_lr", now):
        group["initial_lr"] = now
    rate: float = group.setdefault("initial_lr", now)
    return rate


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set a group's learning rate, and note that a schedule did it."""
    group["lr"] = group["scheduled_lr"] = rate


def _alike(own: Any, value: Any) -> bool:
    """Whether a value is of the kind of another: a number, or a list of such."""
    if isinstance(own, list) and isinstance(value, list):
        return not own or all(_alike(own[0], item) for item in value)
    if isinstance(own, bool) or not isinstance(own, int | float | None):
        return isinstance(value, type(own))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(own, int):
        return number and isinstance(value, int)
    return value is None or (number and value == value)


def check_optimizer(optimizer: Any) -> None:
    """Raise unless it is an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(
            f"a schedule needs an optimizer as its first argument. Received: {optimizer!r}"
        )
