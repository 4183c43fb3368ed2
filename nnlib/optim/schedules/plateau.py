"""A schedule that reduces the learning rate when a metric stops improving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlib.errors import OptionError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.schedules.base import LRScheduler, check_optimizer, set_rate

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rates by ``factor`` when a metric has not improved for some steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether smaller or larger values of the metric are better.
    factor : float
        In [0, 1).
    patience : int
        Number of consecutive steps without improvement that are accepted.
    threshold : float
        An improvement is a relative or absolute change by more than this.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        Number of steps after a reduction that are not counted.
    min_lr : float, or list of float
        Lower bound of the learning rate, of all groups or of each.
    eps : float
        Smaller changes of the learning rate are not made.

    Attributes
    ----------
    best : float or None
        The best metric so far.

    Raises
    ------
    OptionError
        If an option is out of range.
    DTypeError
        If ``optimizer`` is not one.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [3.0, 2.0, 2.0, 2.0]:
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in ("min", "max"):
            raise OptionError(f"mode must be 'min' or 'max'. Received: {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise OptionError(
                f"threshold_mode must be 'rel' or 'abs'. Received: {threshold_mode!r}"
            )
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = Range(0.0, 1.0, below=True).check("factor", factor)
        self.patience = int(Range().check("patience", patience))
        self.threshold = Range().check("threshold", threshold)
        self.cooldown = int(Range().check("cooldown", cooldown))
        self.eps = Range().check("eps", eps)
        groups = len(optimizer.param_groups)
        bounds = min_lr if isinstance(min_lr, list) else [min_lr] * groups
        if len(bounds) != groups:
            raise OptionError(
                f"min_lr must be one bound or one for each of {groups} groups. Received: {min_lr}"
            )
        self.min_lrs = [Range().check("min_lr", bound) for bound in bounds]
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def apply(self) -> None:
        """Keep the learning rates, which depend on the metric, not on the step."""

    def step(self, metric: Any) -> None:  # type: ignore[override]
        """Count the metric of a step (or epoch), and reduce the learning rates if necessary.

        Parameters
        ----------
        metric : float, or Tensor with one value
            A tensor is read from the device.  NaN is no improvement.
        """
        value = float(metric)
        self.last_epoch += 1
        if self._improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return value == value  # anything but NaN
        sign = 1 if self.mode == "min" else -1
        step = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        # PyTorch's rule: with a negative best, a relative threshold also accepts a worse value
        return value < self.best - step if sign > 0 else value > self.best + step

    def _reduce(self) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            bound = self.min_lrs[min(index, len(self.min_lrs) - 1)]
            rate = max(group["lr"] * self.factor, bound)
            if group["lr"] - rate > self.eps:
                set_rate(group, rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and the best metric; the optimizer holds the learning rates."""
        names = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the result of `state_dict`."""
        self.check_state(state)
        for name in self.state_dict():
            setattr(self, name, state[name])
