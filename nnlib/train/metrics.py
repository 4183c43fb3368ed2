"""Metrics: sums that stay on the device during an epoch, each read once, at its end."""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from nnlib import ops
from nnlib.autograd import Tensor, no_grad, tensor
from nnlib.errors import DTypeError, OptionError, ShapeError, StateError, describe, did_you_mean
from nnlib.nn.functional.crossentropy import all_count
from nnlib.reading import parsing
from nnlib.train.losses import measured
from nnlib_backends.dtypes import is_floating
from nnlib_backends.interop import from_library

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "ErrorRate",
    "FunctionMetric",
    "LabelMetric",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Measured",
    "Metric",
    "TopKAccuracy",
    "Within",
    "get_metric",
    "ignoring",
    "unique_names",
]

MetricLike: TypeAlias = "str | Metric | Callable[[Tensor, Tensor], Tensor]"

Measured: TypeAlias = "tuple[Tensor, Tensor | float]"
"""What a batch adds to a metric: a sum, and how much it is the sum of."""


class Metric(ABC):
    """Base class of metrics: a mean over all targets, whatever the sizes of the batches.

    Subclass it, give it a `name`, and write `total`.

    Attributes
    ----------
    name : str
        Its key in the history.
    higher_is_better : bool
        The direction of improvement, for early stopping and the best checkpoint.

    Raises
    ------
    StateError
        When a result is computed without a sample.

    Examples
    --------
    >>> import nnlib
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
        """Number of values in the sum `total`: a number, or a tensor without axes."""
        return target.size

    def reset(self) -> None:
        """Clear the sum and the count."""
        self._total: Tensor | float | None = None
        self._count: Tensor | float = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch; nothing is read from the device."""
        output, target = from_library(output), from_library(target)
        self.add(self.measure(output, target), target)

    def measure(self, output: Tensor, target: Tensor) -> Measured:
        """Compute the sum and the count of a batch (in a compiled step)."""
        with no_grad():
            return _wide(self.total(output, target)), self.count(target)

    def add(self, value: Measured, target: Tensor) -> None:
        """Add the result of `measure` for a batch with this target."""
        total, count = value
        with no_grad():
            self._total = total if self._total is None else total + self._total
            self._count = count + self._count

    def result(self) -> Tensor:
        """Return the mean on the device, float64 without axes; 0 if no target counts."""
        if self._total is None:
            raise StateError(f"{self.name} needs at least one example before it has a result")
        total, count = self._total, self._count
        if not isinstance(total, Tensor):  # from a checkpoint, and no batch since
            total = tensor(total, dtype="float64")
        if isinstance(count, Tensor):
            return total / ops.where(count > 0, count, 1)
        return total / (count or 1)

    def compute(self) -> float:
        """Return the mean as a number (waits for the device)."""
        return float(self.result())

    def state_dict(self) -> dict[str, Any]:
        """Return sum and count, for a checkpoint (waits for the device)."""
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
    """Base class of metrics with one value for each target; ignored targets do not count.

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
        """Mask of the targets that count; None if all do."""
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
        mean over the batch's samples, or a pair, the mean and its divisor.
    name : str
        Its key in the history; the function's own name if not given.
    higher_is_better : bool
        The direction of improvement, for early stopping and the best checkpoint.

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
        """Undo the mean, and return the divisor."""
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


# By name -------------------------------------------------------------------------------------


class _ClassMetric(LabelMetric):
    """Of scores (…, C) and targets that are class numbers (…), or probabilities (…, C)."""

    def count(self, target: Tensor) -> Tensor | float:
        """How many examples count: an integer is a label, a row of floats a distribution."""
        if target.dtype.kind in "iu":
            return super().count(target)
        return target.size // target.shape[-1]


class Accuracy(_ClassMetric):
    """Share of examples whose largest output is that of the right class.

    Outputs are (N, C) or (…, C) scores; targets are class numbers, (N,) or (…), or rows of
    probabilities like the outputs, of which the largest counts.

    Parameters
    ----------
    ignore_index : int, optional
        Examples of this class number do not count.  `nnlib.Trainer` takes that of the loss, if
        none is given.

    Raises
    ------
    ShapeError
        When updated, if the targets do not fit the outputs.

    Examples
    --------
    >>> import nnlib
    >>> metric = Accuracy()
    >>> metric.update(nnlib.tensor([[0.1, 0.9], [0.8, 0.2]]), nnlib.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    name = "accuracy"
    higher_is_better = True

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Tell which are right."""
        labels = _labels(self.name, output, target)
        return ops.equal(ops.argmax(output, axis=-1), labels)


class ErrorRate(Accuracy):
    """Share of examples whose largest output is that of a wrong class: 1 − accuracy.

    Parameters
    ----------
    ignore_index : int, optional
        See `Accuracy`.

    Examples
    --------
    >>> import nnlib
    >>> metric = ErrorRate()
    >>> metric.update(nnlib.tensor([[0.1, 0.9], [0.8, 0.2]]), nnlib.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    name = "error_rate"
    higher_is_better = False

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Tell which are wrong."""
        labels = _labels(self.name, output, target)
        return ops.not_equal(ops.argmax(output, axis=-1), labels)


class TopKAccuracy(_ClassMetric):
    """Share of examples whose right class is among the ``k`` largest outputs.

    Parameters
    ----------
    k : int
        As a name: ``"top5"`` for 5.
    ignore_index : int, optional
        See `Accuracy`.

    Raises
    ------
    OptionError
        If ``k`` is less than 1, or, when updated, not less than the number of classes.
    ShapeError
        When updated, if the targets do not fit the outputs.

    Examples
    --------
    >>> import nnlib
    >>> metric = TopKAccuracy(2)
    >>> metric.update(nnlib.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), nnlib.tensor([1, 2]))
    >>> metric.compute()
    0.5
    """

    higher_is_better = True

    def __init__(self, k: int = 5, ignore_index: int | None = None) -> None:
        if k < 1:
            raise OptionError(f"k must be at least 1. Received: {k}")
        super().__init__(ignore_index)
        self.k, self.name = k, f"top{k}"

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Tell which are right."""
        labels = _labels(self.name, output, target)
        if output.shape[-1] <= self.k:
            raise OptionError(
                f"{self.name} needs more than {self.k} classes. Received: output {output.shape}"
            )
        kept = self._kept(target)
        if kept is not None:  # an ignored label need not be a class
            labels = ops.where(kept, labels, 0)
        right = ops.take_along_axis(output, ops.expand_dims(labels, axis=-1), axis=-1)  # (…, 1)
        # with this comparison NaN is above everything: an output of NaN is never right
        above = ops.subtract(1, ops.astype(ops.greater_equal(right, output), dtype="int64"))
        return ops.less(ops.sum(above, axis=-1), self.k)

    def __repr__(self) -> str:
        return f"TopKAccuracy({self.k})"


class BinaryAccuracy(LabelMetric):
    """Share of yes-or-no answers that are right; outputs and targets have one shape.

    Parameters
    ----------
    threshold : float
        An output above it means yes: 0 for logits, 0.5 for probabilities.
    ignore_index : int, optional
        Integer targets of this value do not count.

    Raises
    ------
    ShapeError
        When updated, if the shapes differ.

    Examples
    --------
    >>> import nnlib
    >>> metric = BinaryAccuracy()
    >>> metric.update(nnlib.tensor([2.0, -1.0]), nnlib.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    name = "binary_accuracy"
    higher_is_better = True

    def __init__(self, threshold: float = 0.0, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.threshold = threshold

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Tell which are right."""
        _same_shape(self.name, output, target)
        return ops.equal(output > self.threshold, target > 0.5)

    def __repr__(self) -> str:
        return f"BinaryAccuracy(threshold={self.threshold})"


class MeanSquaredError(LabelMetric):
    """Mean of (output − target)²; outputs and targets have one shape.

    Parameters
    ----------
    ignore_index : int, optional
        Integer targets of this value do not count.

    Raises
    ------
    ShapeError
        When updated, if the shapes differ.

    Examples
    --------
    >>> import nnlib
    >>> metric = MeanSquaredError()
    >>> metric.update(nnlib.tensor([1.0, 4.0]), nnlib.tensor([1.0, 2.0]))
    >>> metric.compute()
    2.0
    """

    name = "mse"

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the squares."""
        _same_shape(self.name, output, target)
        return ops.square(output - target)


class MeanAbsoluteError(LabelMetric):
    """Mean of |output − target|; outputs and targets have one shape.

    Parameters
    ----------
    ignore_index : int, optional
        Integer targets of this value do not count.

    Raises
    ------
    ShapeError
        When updated, if the shapes differ.

    Examples
    --------
    >>> import nnlib
    >>> metric = MeanAbsoluteError()
    >>> metric.update(nnlib.tensor([1.0, 4.0]), nnlib.tensor([1.0, 2.0]))
    >>> metric.compute()
    1.0
    """

    name = "mae"

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the distances."""
        _same_shape(self.name, output, target)
        return ops.abs(output - target)


class Within(LabelMetric):
    """Share of values with |output − target| below a tolerance; outputs and targets have one shape.

    Parameters
    ----------
    tolerance : float
        As a name: ``"within0.04"`` for 0.04.
    ignore_index : int, optional
        Integer targets of this value do not count.

    Raises
    ------
    OptionError
        If the tolerance is not positive.
    ShapeError
        When updated, if the shapes differ.

    Examples
    --------
    >>> import nnlib
    >>> metric = Within(0.5)
    >>> metric.update(nnlib.tensor([1.0, 4.0]), nnlib.tensor([1.25, 2.0]))
    >>> metric.name, metric.compute()
    ('within0.5', 0.5)
    """

    higher_is_better = True

    def __init__(self, tolerance: float, ignore_index: int | None = None) -> None:
        if not 0 < tolerance < float("inf"):
            raise OptionError(f"tolerance must be a positive number. Received: {tolerance!r}")
        super().__init__(ignore_index)
        self.tolerance, self.name = tolerance, f"within{tolerance:g}"

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Tell which are near enough."""
        _same_shape(self.name, output, target)
        return ops.less(ops.abs(output - target), self.tolerance)

    def __repr__(self) -> str:
        return f"Within({self.tolerance:g})"


METRICS: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "error_rate": ErrorRate,
    "top5": TopKAccuracy,
    "binary_accuracy": BinaryAccuracy,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
}


def get_metric(metric: MetricLike) -> Metric:
    """Return a metric by name, or make one of a function.

    Parameters
    ----------
    metric : str, Metric or callable
        ``"accuracy"``, ``"error_rate"``, ``"top5"`` (any number), ``"binary_accuracy"``,
        ``"mse"``, ``"mae"``, ``"within0.04"`` (any number); or see `FunctionMetric`.

    Raises
    ------
    OptionError
        If there is no metric of that name.
    DTypeError
        If it is none of these kinds.

    Examples
    --------
    >>> get_metric("top3")
    TopKAccuracy(3)
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        if metric in METRICS:
            return METRICS[metric]()
        if re.fullmatch(r"top[1-9]\d*", metric):
            return TopKAccuracy(int(metric[3:]))
        if re.fullmatch(r"within\d*\.?\d+", metric):
            return Within(float(metric[6:]))
        raise OptionError(
            f"a metric must be one of {', '.join(METRICS)} (top1, top2, …), within0.04 (or another "
            f"number). Received: {metric!r}.{did_you_mean(metric, METRICS)}"
        )
    if callable(metric) and not isinstance(metric, type):
        return FunctionMetric(metric)
    raise DTypeError(
        f"a metric must be a name, a Metric or a function. Received: {metric!r}"
        + (" (a class: write it with parentheses)" if isinstance(metric, type) else "")
    )


def _labels(name: str, output: Tensor, target: Tensor) -> Tensor:
    """Check the shapes; return the class numbers of the targets."""
    if output.ndim == 0 or output.shape[-1] < 2:
        raise ShapeError(
            f"{name} needs outputs of two classes or more, (…, C). Received: output "
            f"{describe(output)}. For one output per example use 'binary_accuracy'"
        )
    if target.dtype.kind in "iu" and target.shape == output.shape[:-1]:
        return target
    if is_floating(target.dtype) and target.shape == output.shape:
        return ops.argmax(target, axis=-1)
    raise ShapeError(
        f"{name} needs targets that are class numbers, integers {output.shape[:-1]}, or "
        f"probabilities, floats {output.shape}. Received: target {describe(target)}"
    )


def _same_shape(name: str, output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:  # broadcasting (N, 1) with (N,) to (N, N) is never meant
        raise ShapeError(
            f"{name} needs outputs and targets of one shape. "
            f"Received: {describe(output, target)}. Reshape the targets"
        )


def unique_names(metrics: Sequence[Metric]) -> None:
    """Refuse two metrics of one name, and names that the history uses itself."""
    taken = {"epoch", "loss", "lr", "seconds"}
    for metric in metrics:
        if metric.name in taken or metric.name.startswith("val_"):
            raise OptionError(
                f"every metric must have a name of its own, none of {', '.join(sorted(taken))} "
                f"and not val_…. Received: {metric.name!r}"
            )
        taken.add(metric.name)


def ignoring(metric: Metric, index: int | None) -> Metric:
    """Return a copy of a metric that ignores these targets.

    The metric itself is returned if no label is ignored, or if its own ``ignore_index`` is set or
    missing.

    Examples
    --------
    >>> ignoring(Accuracy(), -100).ignore_index
    -100
    """
    if index is None or not hasattr(metric, "ignore_index") or metric.ignore_index is not None:
        return metric
    own = copy.copy(metric)
    own.ignore_index = index
    return own


def _wide(total: Tensor) -> Tensor:
    """Convert to float64: a sum over many batches keeps the precision of each batch's sum."""
    return total.astype("float64")
