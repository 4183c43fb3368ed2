"""Schedules that multiply the initial learning rate by a simple factor."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from nnlib.arguments import positive_integer
from nnlib.errors import OptionError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.schedules.base import LRScheduler

__all__ = ["ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "StepLR"]


class LambdaLR(LRScheduler):
    """Initial learning rate times a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callables
        ``lr_lambda(step) -> factor``, for all groups or one for each.

    Raises
    ------
    OptionError
        If a list has another length than the groups.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
    ) -> None:
        self.lr_lambda = lr_lambda
        groups = len(getattr(optimizer, "param_groups", ()))
        if isinstance(lr_lambda, list) and len(lr_lambda) != groups:
            raise OptionError(
                f"lr_lambda must be one function or one for each of {groups} groups. "
                f"Received: {len(lr_lambda)}"
            )
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        function = self.lr_lambda[group] if isinstance(self.lr_lambda, list) else self.lr_lambda
        return base_lr * function(step)


class StepLR(LRScheduler):
    """Multiply by ``gamma`` every ``step_size`` steps.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float

    Raises
    ------
    OptionError
        If an option is out of range.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, rates = StepLR(optimizer, step_size=2, gamma=0.5), []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = positive_integer("step_size", step_size)
        self.gamma = Range().check("gamma", gamma)
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        return base_lr * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply by ``gamma`` at each of the given steps.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        In any order; duplicates count twice.
    gamma : float

    Raises
    ------
    OptionError
        If an option is out of range.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, rates = MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5), []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(milestones)
        self.gamma = Range().check("gamma", gamma)
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        return base_lr * self.gamma ** bisect_right(self.milestones, step)


class ExponentialLR(LRScheduler):
    """Multiply by ``gamma`` at every step.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float

    Raises
    ------
    OptionError
        If an option is out of range.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = ExponentialLR(optimizer, gamma=0.5)
    >>> schedule.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = Range().check("gamma", gamma)
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        return base_lr * self.gamma**step


class LinearLR(LRScheduler):
    """Change the factor linearly, then keep it: a warm-up, or a linear decay.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
        In 0 … 1.
    total_iters : int
        Steps until ``end_factor`` is reached.

    Raises
    ------
    OptionError
        If an option is out of range.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, rates = LinearLR(optimizer, start_factor=0.25, total_iters=3), []
    >>> for step in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor = Range(0.0, 1.0).check("start_factor", start_factor)
        self.end_factor = Range(0.0, 1.0).check("end_factor", end_factor)
        self.total_iters = positive_integer("total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        done = min(step, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done)
