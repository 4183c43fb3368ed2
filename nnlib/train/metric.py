"""What a metric is: a sum that stays on the device while batches go by, read once at the end."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

from nnlib import ops
from nnlib.autograd import Tensor, no_grad, tensor
from nnlib.errors import StateError
from nnlib.nn.functional.crossentropy import all_count
from nnlib.reading import parsing
from nnlib.train.readings import measured
from nnlib_backends.interop import from_library

__all__ = ["FunctionMetric", "LabelMetric", "Measured", "Metric", "ignoring"]

Measured: TypeAlias = "tuple[Tensor, Tensor | float]"
"""What a batch adds to a metric: a sum, and how much it is the sum of."""


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

    def count(self, target: Tensor) -> Tensor | float:
        """How many values `total` is the sum of: a number, or a tensor without axes."""
        return target.size

    def reset(self) -> None:
        """Forget what was seen."""
        self._total: Tensor | float | None = None
        self._count: Tensor | float = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in a batch; nothing is read from the device."""
        output, target = from_library(output), from_library(target)
        self.add(self.measure(output, target), target)

    def measure(self, output: Tensor, target: Tensor) -> Measured:
        """Compute what a batch adds to the sum and to the count (in a compiled step)."""
        with no_grad():
            return _wide(self.total(output, target)), self.count(target)

    def add(self, value: Measured, target: Tensor) -> None:
        """Take in what `measure` made of a batch with this target."""
        total, count = value
        with no_grad():
            self._total = total if self._total is None else total + self._total
            self._count = count + self._count

    def result(self) -> Tensor:
        """Return the mean on the device, float64 without axes; 0 if no target counts."""
        if self._total is None:
            raise StateError(f"{self.name} needs at least one example before it has a result")
        total, count = self._total, self._count
        if not isinstance(total, Tensor):  # from a checkpoint, and nothing came since
            total = tensor(total, dtype="float64")
        if isinstance(count, Tensor):
            return total / ops.where(count > 0, count, 1)
        return total / (count or 1)

    def compute(self) -> float:
        """Return the mean as a number (waits for the device)."""
        return float(self.result())

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen so far, for a checkpoint (waits for the device)."""
        total = self._total
        return {"total": None if total is None else float(total), "count": float(self._count)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises
        ------
        StateError
            If it is something else.
        """
        with parsing("the state", f"one of the metric {self.name}", StateError):
            total, count = state["total"], float(state["count"])
            self._total = None if total is None else float(total)
        self._count = count

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LabelMetric(Metric):
    """The mean of one value for each target, without those that are to be ignored.

    Subclass it, give it a `name`, and write `values`.

    Parameters
    ----------
    ignore_index : int, optional
        Integer targets of this value do not count.  In `nnlib.Trainer` that of the loss, if not
        given.

    Examples
    --------
    >>> import nnlib
    >>> class Hits(LabelMetric):
    ...     name = "hits"
    ...     def values(self, output, target):
    ...         return nnlib.ops.equal(output, target)
    >>> metric = Hits(ignore_index=0)
    >>> metric.update(nnlib.tensor([1, 2, 3]), nnlib.tensor([1, 1, 0]))
    >>> metric.compute()
    0.5
    """

    def __init__(self, ignore_index: int | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    @abstractmethod
    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Return a value for each target, in the targets' order."""

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """Sum the values that count."""
        values, kept = self.values(output, target), self._kept(target)
        return ops.sum(values if kept is None else ops.where(kept, values, 0))

    def count(self, target: Tensor) -> Tensor | float:
        """How many targets count."""
        kept = self._kept(target)
        return target.size if kept is None else ops.sum(kept)

    def _kept(self, target: Tensor) -> Tensor | None:
        """Tell which targets count; None if all do."""
        index, kind = self.ignore_index, target.dtype.kind
        if index is None or not (kind == "i" or (kind == "u" and index >= 0)):
            return None
        if all_count(target, 1 << (8 * target.dtype.itemsize - 1), index):
            return None
        return ops.not_equal(target, index)


class FunctionMetric(Metric):
    """A metric made of a function ``(output, target) → mean over the batch``.

    Parameters
    ----------
    function : callable
        ``function(output, target)`` returns a tensor with one value: a loss of `nnlib.nn`, or the
        mean over the batch's examples, or a pair, the mean and the number that it was divided by.
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
        return self.measure(output, target)[0]

    def measure(self, output: Tensor, target: Tensor) -> Measured:
        """Undo the mean, and return by what it was divided."""
        with no_grad():
            value, count = measured(self.function, output, target, f"the metric {self.name}")
            value = _wide(ops.reshape(value, shape=()))
            if count is None:  # a sum
                return value, 0
            if not isinstance(count, Tensor):
                return value * count, count
            count = _wide(ops.reshape(count, shape=()))
            nothing = ops.where(ops.equal(value, value), value, 0.0)  # its mean may be NaN
            return ops.where(count > 0, value * count, nothing), count


def ignoring(metric: Metric, index: int | None) -> Metric:
    """Return a copy of a metric that ignores these targets.

    It is the metric itself where there is nothing to ignore, or its own ``ignore_index`` is set, or
    it has none.

    Examples
    --------
    >>> from nnlib.train.metrics import Accuracy
    >>> ignoring(Accuracy(), -100).ignore_index
    -100
    """
    if index is None or not hasattr(metric, "ignore_index") or metric.ignore_index is not None:
        return metric
    own = copy.copy(metric)
    own.ignore_index = index
    return own


def _wide(total: Tensor) -> Tensor:
    """Convert to float64: a sum over many batches loses nothing that a batch's own sum had."""
    return total.astype("float64")
