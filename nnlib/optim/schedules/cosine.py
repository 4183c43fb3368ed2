"""Schedules along a cosine: annealing, and one cycle up and down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nnlib.arguments import positive_integer
from nnlib.errors import OptionError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.schedules.base import LRScheduler, check_optimizer

__all__ = ["CosineAnnealingLR", "OneCycleLR"]


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _linear(start: float, end: float, done: float) -> float:
    return start + (end - start) * done


class CosineAnnealingLR(LRScheduler):
    """From the initial learning rate to ``eta_min`` along half a cosine, without restarts.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Steps until ``eta_min`` is reached; the learning rate rises again afterwards.
    eta_min : float

    Raises
    ------
    OptionError
        If an option is out of range.

    References
    ----------
    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, eq. 5.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, rates = CosineAnnealingLR(optimizer, T_max=4), []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 3) for rate in rates]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = positive_integer("T_max", T_max)
        self.eta_min = Range().check("eta_min", eta_min)
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        return _cosine(base_lr, self.eta_min, step / self.T_max)


class _Phase(NamedTuple):
    """A phase of a cycle: its last step, and the factors of ``max_lr`` at both ends."""

    end: float
    rates: tuple[float, float]
    momentum: tuple[str, str]  # "low" or "high" at both ends


class OneCycleLR(LRScheduler):
    """Raise the learning rate to a maximum, then lower it to almost 0; momentum moves inversely.

    Call `step` after every batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or list of float
        The maximum, of all groups or of each.  The optimizer's own ``lr`` is not used.
    total_steps : int, optional
        Length of the cycle; otherwise ``epochs · steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        Fraction of the cycle in which the learning rate increases.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Change ``momentum`` (or the first of ``betas``) between ``max_momentum`` at the lowest
        learning rates and ``base_momentum`` at the highest.
    base_momentum, max_momentum : float
    div_factor : float
        The first learning rate is ``max_lr / div_factor``.
    final_div_factor : float
        The last learning rate is the first one divided by this.
    three_phase : bool
        Return to the first learning rate as fast as it rose, and to the last one in a third phase.

    Raises
    ------
    OptionError
        If an option is outside its range, or at a step beyond the end of the cycle.

    References
    ----------
    Smith & Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2017.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], momentum=0.9)
    >>> schedule, rates = OneCycleLR(optimizer, max_lr=1.0, total_steps=10), []
    >>> for batch in range(10):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 2) for rate in rates]
    [0.04, 0.52, 1.0, 0.95, 0.81, 0.61, 0.39, 0.19, 0.05, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        check_optimizer(optimizer)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise OptionError("total_steps, or epochs and steps_per_epoch, must be given")
        if total_steps is None:
            total_steps = positive_integer("epochs", epochs) * positive_integer(
                "steps_per_epoch", steps_per_epoch
            )
        self.total_steps = positive_integer("total_steps", total_steps)
        groups = len(optimizer.param_groups)
        rates = max_lr if isinstance(max_lr, list) else [max_lr] * groups
        if len(rates) != groups:
            raise OptionError(
                f"max_lr must be one number or one for each of {groups} groups. Received: {max_lr}"
            )
        self.max_lrs = [Range().check("max_lr", rate) for rate in rates]
        self.anneal = _annealing(anneal_strategy)
        self.momenta = {
            "low": Range(0.0, 1.0, below=True).check("base_momentum", base_momentum),
            "high": Range(0.0, 1.0, below=True).check("max_momentum", max_momentum),
        }
        self.momentum_name = _momentum_name(optimizer) if cycle_momentum else None
        self.phases = _phases(
            self.total_steps,
            Range(0.0, 1.0).check("pct_start", pct_start),
            1 / Range(1e-12).check("div_factor", div_factor),
            1 / Range(1e-12).check("final_div_factor", final_div_factor),
            three_phase,
        )
        super().__init__(optimizer)

    def rate(self, base_lr: float, step: int, group: int) -> float:
        """Return the learning rate at a step."""
        phase, done = self._locate(step)
        top = self.max_lrs[group] if group < len(self.max_lrs) else self.max_lrs[-1]
        return self.anneal(top * phase.rates[0], top * phase.rates[1], done)

    def apply(self) -> None:
        """Set learning rates and momenta of the current step."""
        if self.last_epoch > self.total_steps:
            raise OptionError(
                f"the cycle has {self.total_steps} steps. Received: step {self.last_epoch}. "
                "Give total_steps (or epochs and steps_per_epoch) for the whole training"
            )
        super().apply()
        if self.momentum_name is None:
            return
        phase, done = self._locate(self.last_epoch)
        start, end = (self.momenta[name] for name in phase.momentum)
        momentum = self.anneal(start, end, done)
        for group in self.optimizer.param_groups:
            if self.momentum_name == "betas":
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def _locate(self, step: int) -> tuple[_Phase, float]:
        """Return the phase of a step, and the completed fraction of the phase (0 … 1)."""
        begin = 0.0
        for phase in self.phases[:-1]:
            if step <= phase.end:
                break
            begin = phase.end
        else:
            phase = self.phases[-1]
        length = phase.end - begin
        return phase, min((step - begin) / length, 1.0) if length else 1.0


def _annealing(strategy: Any) -> Callable[[float, float, float], float]:
    strategies = {"cos": _cosine, "linear": _linear}
    if strategy not in strategies:
        raise OptionError(f"anneal_strategy must be 'cos' or 'linear'. Received: {strategy!r}")
    return strategies[strategy]


def _momentum_name(optimizer: Optimizer) -> str:
    for name in ("betas", "momentum"):
        if name in optimizer.defaults:
            return name
    raise OptionError(
        f"cycle_momentum=True needs an optimizer with momentum or betas. Received: "
        f"{type(optimizer).__name__}. Use cycle_momentum=False"
    )


def _phases(steps: int, up: float, first: float, fall: float, three: bool) -> list[_Phase]:
    last = first * fall
    begin = _Phase(up * steps - 1, (first, 1.0), ("high", "low"))
    if three:
        middle = _Phase(2 * up * steps - 2, (1.0, first), ("low", "high"))
        return [begin, middle, _Phase(steps - 1, (first, last), ("high", "high"))]
    return [begin, _Phase(steps - 1, (1.0, last), ("low", "high"))]
