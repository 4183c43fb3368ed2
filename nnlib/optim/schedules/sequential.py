"""A sequence of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from nnlib.errors import OptionError, StateError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.schedules.base import LRScheduler
from nnlib.optim.schedules.plateau import ReduceLROnPlateau

__all__ = ["SequentialLR"]


class SequentialLR(LRScheduler):
    """A sequence of schedules, such as a warm-up and then a cosine.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        Each starts with its own step 0.
    milestones : list of int
        Steps at which the second, third, … schedule starts; increasing.

    Raises
    ------
    OptionError
        If the milestones do not fit, or a schedule has another optimizer or needs a metric.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm_up = optim.schedules.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> cosine = optim.schedules.CosineAnnealingLR(optimizer, T_max=4)
    >>> schedule, rates = SequentialLR(optimizer, [warm_up, cosine], milestones=[3]), []
    >>> for step in range(8):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 2) for rate in rates]
    [0.25, 0.5, 0.75, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        if not self.schedulers or len(self.milestones) != len(self.schedulers) - 1:
            raise OptionError(
                "milestones must be one fewer than schedulers, of which there is at least one. "
                f"Received: {len(self.milestones)} and {len(self.schedulers)}"
            )
        starts = [0, *self.milestones]
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise OptionError(f"milestones must be positive and increase. Received: {milestones}")
        for scheduler in self.schedulers:
            if not isinstance(scheduler, LRScheduler) or scheduler.optimizer is not optimizer:
                raise OptionError(f"schedulers must be of this optimizer. Received: {scheduler!r}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise OptionError("a schedule that needs a metric cannot be part of a sequence")
        super().__init__(optimizer)

    def apply(self) -> None:
        """Set the learning rates of the current schedule."""
        self.base_lrs = self.schedulers[0].base_lrs
        index = bisect_right(self.milestones, self.last_epoch)
        scheduler = self.schedulers[index]
        scheduler.last_epoch = self.last_epoch - (self.milestones[index - 1] if index else 0)
        scheduler.apply()

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and the states of the schedules."""
        parts = [scheduler.state_dict() for scheduler in self.schedulers]
        return {**super().state_dict(), "schedulers": parts}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise `StateError` unless `load_state_dict` can use the state."""
        super().check_state(state)
        if len(state["schedulers"]) != len(self.schedulers):
            raise StateError(
                f"the state must be of {len(self.schedulers)} schedules. "
                f"Received: {len(state['schedulers'])}"
            )
        for scheduler, part in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.check_state(part)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the result of `state_dict`, and set its learning rates."""
        self.check_state(state)
        for scheduler, part in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(part)
        super().load_state_dict(state)
