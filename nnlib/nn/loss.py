"""Losses as layers; what they compute is said in `nnlib.nn.functional`.

The head of a network sets its task: identity and `MSELoss` for regression, logits and
`BCEWithLogitsLoss` for two classes, logits and `CrossEntropyLoss` for more.
"""

from __future__ import annotations

from nnlib.autograd import Tensor, tensor
from nnlib.nn import functional as F
from nnlib.nn.functional.checks import REDUCTIONS, TensorLike, check_choice, check_fraction
from nnlib.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    """A loss with a reduction: "mean", "sum", or "none" for one value per instance."""

    reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_choice(reduction, self.reductions, "reduction")
        self.reduction = reduction

    def _register(self, name: str, value: TensorLike | None) -> None:
        """Keep an optional weight as a buffer, so that it moves with the module."""
        self.register_buffer(name, None if value is None else tensor(value))

    def extra_repr(self) -> str:
        """Return the options."""
        return f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """Mean squared error, ``(input − target)²``, of two tensors of one shape.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Over all values.

    Raises
    ------
    OptionError
        If an option is none of these.
    ShapeError
        When called, if input and target differ in shape.

    Examples
    --------
    >>> MSELoss()([1.0, 2.0], [1.0, 4.0])
    tensor(2.)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Two tensors of one shape."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Mean absolute error, ``|input − target|``, of two tensors of one shape.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Over all values.

    Raises
    ------
    OptionError
        If an option is none of these.
    ShapeError
        When called, if input and target differ in shape.

    Examples
    --------
    >>> L1Loss()([1.0, 2.0], [1.0, 4.0])
    tensor(1.)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Two tensors of one shape."""
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(_Loss):
    """Squared for errors up to ``delta``, absolute beyond (Huber, 1964).

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Over all values.
    delta : float
        Where the parabola ends and the straight line begins; positive.

    Raises
    ------
    OptionError
        If a reduction is none of these, or, when called, ``delta`` is not positive.
    ShapeError
        When called, if input and target differ in shape.

    Examples
    --------
    >>> HuberLoss()([0.5, 3.0], [0.0, 0.0])
    tensor(1.3125)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Two tensors of one shape."""
        return F.huber_loss(input, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{super().extra_repr()}, delta={self.delta}"


class SmoothL1Loss(_Loss):
    """`HuberLoss` with delta = beta, divided by beta (Girshick, 2015); `L1Loss` for beta = 0.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Over all values.
    beta : float
        Where the parabola ends and the straight line begins; not negative.

    Raises
    ------
    OptionError
        If a reduction is none of these, or, when called, ``beta`` is not 0 or more.
    ShapeError
        When called, if input and target differ in shape.

    Examples
    --------
    >>> SmoothL1Loss(beta=2.0)([0.0, 4.0], [0.0, 0.0])
    tensor(1.5)
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Two tensors of one shape."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{super().extra_repr()}, beta={self.beta}"


class CrossEntropyLoss(_Loss):
    """Softmax and cross-entropy in one, from logits (..., C).

    Parameters
    ----------
    weight : Tensor or array, (C,), optional
        Factor of each class.
    ignore_index : int or None
        Instances with this label do not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        In [0, 1]: this share of the target is spread over all classes.

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        When called, if the shapes do not fit.
    LabelError
        When called, if a label is no class (looked at on the CPU only).

    Examples
    --------
    >>> print(f"{CrossEntropyLoss()([[0.0, 0.0], [1e4, -1e4]], [1, 0]):.4f}")
    0.3466
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: TensorLike | None = None,
        ignore_index: int | None = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        check_fraction(label_smoothing, "label_smoothing")
        self._register("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Logits (..., C) and labels (...), or probabilities (..., C)."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log-likelihood, from log-probabilities (..., C).

    It is what `CrossEntropyLoss` computes after `LogSoftmax`.

    Parameters
    ----------
    weight : Tensor or array, (C,), optional
        Factor of each class.
    ignore_index : int or None
        Instances with this label do not count.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        When called, if the shapes do not fit.
    LabelError
        When called, if a label is no class (looked at on the CPU only).

    Examples
    --------
    >>> NLLLoss()([[-0.5, -1.0]], [1])
    tensor(1.)
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: TensorLike | None = None,
        ignore_index: int | None = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self._register("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Log-probabilities (..., C) and labels (...)."""
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCEWithLogitsLoss(_Loss):
    """Sigmoid and binary cross-entropy in one, from logits.

    Parameters
    ----------
    weight : Tensor or array, optional
        Factor of each loss; broadcast.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor or array, optional
        Factor of the positive class; broadcast.

    Raises
    ------
    OptionError
        If ``reduction`` is none of these.
    ShapeError
        When called, if the shapes differ.
    LabelError
        When called, if a target is outside [0, 1] (looked at on the CPU only).

    Examples
    --------
    >>> BCEWithLogitsLoss()([1e4, -1e4], [1, 1])
    tensor(5000.)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: TensorLike | None = None,
        reduction: str = "mean",
        pos_weight: TensorLike | None = None,
    ) -> None:
        super().__init__(reduction)
        self._register("weight", weight)
        self._register("pos_weight", pos_weight)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Logits, and targets in [0, 1], of one shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities; prefer `BCEWithLogitsLoss`, which is stable.

    Parameters
    ----------
    weight : Tensor or array, optional
        Factor of each loss; broadcast.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    OptionError
        If ``reduction`` is none of these, or, when called, an input is outside [0, 1].
    ShapeError
        When called, if the shapes differ.
    LabelError
        When called, if a target is outside [0, 1] (looked at on the CPU only).

    Examples
    --------
    >>> print(f"{BCELoss()([0.5, 1.0], [1, 1]):.4f}")
    0.3466
    """

    weight: Tensor | None

    def __init__(self, weight: TensorLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register("weight", weight)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Probabilities, and targets in [0, 1], of one shape."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class KLDivLoss(_Loss):
    """Kullback–Leibler divergence, from log-probabilities.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" is the mathematical definition.
    log_target : bool
        Whether the targets are logarithms too.

    Raises
    ------
    OptionError
        If an option is none of these.
    ShapeError
        When called, if input and target differ in shape.

    Examples
    --------
    >>> KLDivLoss("batchmean")([[-1.0, -1.0]], [[1.0, 0.0]])
    tensor(1.)
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """Log-probabilities and probabilities of one shape."""
        return F.kl_div(input, target, self.reduction, log_target=self.log_target)
