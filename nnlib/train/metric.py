"""What a metric is: a sum that stays on the device while batches go by, read once at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from nnlib import ops
from nnlib.autograd import Tensor, no_grad, tensor
from nnlib.errors import StateError
from nnlib.reading import parsing
from nnlib.train.readings import single_value

__all__ = ["FunctionMetric", "Metric"]


class Metric(ABC):
    """The mean of something over all targets that were seen, whatever the batches' sizes.

    Subclass it, give it a `name`, and write `total`.

    Attributes
    ----------
    name : str
        Its key in the history.
    higher_is_better : bool
        What early stopping and the best checkpoint go by.

    Raises
    ------
    StateError
        When a result is asked for before there was an example.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib.train.metrics import Accuracy
    >>> metric = Accuracy()
    >>> metric.update(nnlib.tensor([[0.1, 0.9], [0.8, 0.2]]), nnlib.tensor([1, 1]))
    >>> metric.update(nnlib.tensor([[0.3, 0.7]]), nnlib.tensor([1]))
    >>> round(metric.compute(), 4)  # 2 of 3
    0.6667
    """

    name: str
    higher_is_better: bool = False

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """Sum over the batch's targets, as a tensor without axes."""

    def count(self, target: Tensor) -> int:
        """How many values `total` is the sum of."""
        return target.size

    def reset(self) -> None:
        """Forget what was seen."""
        self._total: Tensor | float | None = None
        self._count = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in a batch; nothing is read from the device."""
        self.add(self.measure(output, target), target)

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute what a batch adds to the sum, float64 without axes (in a compiled step)."""
        with no_grad():
            # float64: a sum over many batches loses nothing that a batch's own sum had
            return self.total(output, target).astype("float64")

    def add(self, value: Tensor, target: Tensor) -> None:
        """Take in what `measure` made of a batch with this target."""
        with no_grad():
            self._total = value if self._total is None else value + self._total
        self._count += self.count(target)

    def result(self) -> Tensor:
        """Return the mean on the device, float64 without axes."""
        if self._total is None or not self._count:
            raise StateError(f"{self.name} needs at least one example before it has a result")
        total = self._total
        if not isinstance(total, Tensor):  # from a checkpoint, and nothing came since
            total = tensor(total, dtype="float64")
        return total / self._count

    def compute(self) -> float:
        """Return the mean as a number (waits for the device)."""
        return float(self.result())

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen so far, for a checkpoint (waits for the device)."""
        total = self._total
        return {"total": None if total is None else float(total), "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises
        ------
        StateError
            If it is something else.
        """
        with parsing("the state", f"one of the metric {self.name}", StateError):
            total, count = state["total"], int(state["count"])
            self._total = None if total is None else float(total)
        self._count = count

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class FunctionMetric(Metric):
    """A metric made of a function ``(output, target) → mean over the batch``.

    Parameters
    ----------
    function : callable
        ``function(output, target)`` returns a tensor with one value.
    name : str
        Its key in the history; the function's own name if not given.
    higher_is_better : bool
        What early stopping and the best checkpoint go by.

    Raises
    ------
    ShapeError
        When updated, if the function returns anything else than one value.

    Examples
    --------
    >>> import nnlib
    >>> def bias(output, target):
    ...     return (output - target).mean()
    >>> metric = FunctionMetric(bias)
    >>> metric.update(nnlib.tensor([1.0, 2.0]), nnlib.tensor([0.0, 0.0]))
    >>> metric.name, metric.compute()
    ('bias', 1.5)
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        name: str = "",
        higher_is_better: bool = False,
    ) -> None:
        super().__init__()
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.higher_is_better = higher_is_better

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """Undo the mean."""
        value = single_value(self.function(output, target), f"the metric {self.name}")
        return ops.reshape(value, shape=()) * target.shape[0]

    def count(self, target: Tensor) -> int:
        """Count the examples."""
        return int(target.shape[0])
