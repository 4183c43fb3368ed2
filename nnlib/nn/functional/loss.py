"""Losses between two arrays of one shape."""

from __future__ import annotations

import math

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor
from nnlib.errors import LabelError, OptionError
from nnlib.nn.functional.checks import (
    TensorLike,
    as_tensor,
    check_choice,
    check_range,
    float32_inside,
    floating,
    like,
    reduce,
)
from nnlib.nn.functional.counted import counting, noted

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
]

LOG_OF_ZERO = -100.0  # PyTorch's value for the logarithm of a probability of 0


@explained
@float32_inside
def mse_loss(input: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """Squared error, ``(input − target)²``.

    Parameters
    ----------
    input, target : Tensors of one shape
        The target is converted to the input's dtype.
    reduction : {"mean", "sum", "none"}
        Over all values.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> mse_loss([1.0, 2.0], [1.0, 4.0])
    tensor(2.)
    """
    input = floating(input, "mse_loss")
    return reduce(ops.square(input - like(target, input, "mse_loss")), reduction)


@explained
@float32_inside
def l1_loss(input: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """``|input − target|``, the absolute error; parameters and errors: see `mse_loss`.

    Examples
    --------
    >>> l1_loss([1.0, 2.0], [1.0, 4.0])
    tensor(1.)
    """
    input = floating(input, "l1_loss")
    return reduce(ops.abs(input - like(target, input, "l1_loss")), reduction)


@explained
@float32_inside
def huber_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """``d²/2`` for errors d up to delta, ``delta (|d| − delta/2)`` beyond (Huber, 1964).

    Parameters
    ----------
    input, target, reduction
        See `mse_loss`.
    delta : float
        Error at which the parabola changes to a straight line; positive.

    Raises
    ------
    OptionError
        If ``delta`` is not positive.
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> huber_loss([0.5, 3.0], [0.0, 0.0])
    tensor(1.3125)
    """
    if not delta > 0:
        raise OptionError(f"delta must be positive. Received: {delta}")
    input = floating(input, "huber_loss")
    distance = ops.abs(input - like(target, input, "huber_loss"))
    inner = ops.minimum(distance, delta)
    return reduce(0.5 * inner * inner + delta * (distance - inner), reduction)


@explained
@float32_inside
def smooth_l1_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """`huber_loss` with delta = beta, divided by beta (Girshick, 2015); `l1_loss` for beta = 0.

    Parameters
    ----------
    input, target, reduction
        See `mse_loss`.
    beta : float
        Error at which the parabola changes to a straight line; not negative.

    Raises
    ------
    OptionError
        If ``beta`` is negative.
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> smooth_l1_loss([0.0, 4.0], [0.0, 0.0])
    tensor(1.75)
    """
    if beta == 0:
        return l1_loss(input, target, reduction)
    with counting() as counts:
        loss = huber_loss(input, target, reduction, beta)
    return counts.passed_to(loss / beta)


@explained
@float32_inside
def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    """Sigmoid and binary cross-entropy in one: ``−t log σ(x) − (1 − t) log(1 − σ(x))``.

    Finite, with finite gradients, for all finite logits.

    Parameters
    ----------
    input : Tensor
        Logits: the values before the sigmoid.
    target : Tensor of the same shape
        Probabilities of the positive class, usually 0 or 1 (bool and integers too).  The range
        [0, 1] is checked on the CPU only.
    weight : Tensor, optional
        Factor of each loss; broadcast.  Where it is 0, input and target may be anything.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        Factor of the first term, one per column: above 1 it favours recall; broadcast.

    Raises
    ------
    ShapeError
        If the shapes differ.
    LabelError
        If a target is outside [0, 1].

    Examples
    --------
    >>> binary_cross_entropy_with_logits([1e4, -1e4], [1, 1])
    tensor(5000.)
    """
    name = "binary_cross_entropy_with_logits"
    input = floating(input, name)
    input, target, weight = _counted(input, like(target, input, name), weight)
    check_range(target, 0, 1, LabelError, "binary targets")
    if pos_weight is None:
        losses = ops.sigmoid_cross_entropy(input, target)
    else:
        factor = 1 + (_factor(pos_weight, input) - 1) * target
        input, target, _ = _counted(input, target, factor)
        losses = (1 - target) * input + factor * ops.softplus(-input)
    return reduce(losses if weight is None else losses * weight, reduction)


@explained
@float32_inside
def binary_cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """``−t log p − (1 − t) log(1 − p)`` of probabilities p.

    The logarithm of 0 is −100 with derivative 0; `binary_cross_entropy_with_logits` needs no such
    rule.

    Parameters
    ----------
    input : Tensor
        Probabilities in [0, 1], such as the output of a sigmoid.
    target, weight, reduction
        See `binary_cross_entropy_with_logits`.

    Raises
    ------
    OptionError
        If a probability is outside [0, 1] (checked on the CPU only).
    ShapeError
        If the shapes differ.
    LabelError
        If a target is outside [0, 1] (checked on the CPU only).

    Examples
    --------
    >>> print(f"{binary_cross_entropy([0.5], [1.0]):.4f}")
    0.6931
    """
    name = "binary_cross_entropy"
    input = floating(input, name)
    input, target, weight = _counted(input, like(target, input, name), weight)
    check_range(input, 0, 1, OptionError, "the probabilities")
    check_range(target, 0, 1, LabelError, "binary targets")
    losses = -(target * _bounded_log(input) + (1 - target) * _bounded_log(1 - input))
    return reduce(losses if weight is None else losses * weight, reduction)


@explained
@float32_inside
def kl_div(
    input: TensorLike, target: TensorLike, reduction: str = "mean", *, log_target: bool = False
) -> Tensor:
    """Kullback–Leibler divergence, ``t (log t − x)`` for each value.

    Parameters
    ----------
    input : Tensor, (N, ...)
        Logarithms of the predicted probabilities, from `log_softmax`.
    target : Tensor of the same shape
        Probabilities, or their logarithms with ``log_target``.
    reduction : {"batchmean", "mean", "sum", "none"}
        "batchmean" divides the sum by N, as in the mathematical definition; "mean" divides it
        by the number of values, as PyTorch does.
    log_target : bool

    Raises
    ------
    OptionError
        If ``reduction`` is none of these.
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> kl_div([[-1.0, -1.0]], [[1.0, 0.0]])
    tensor(0.5)
    """
    check_choice(reduction, ("batchmean", "mean", "sum", "none"), "reduction")
    input = floating(input, "kl_div")
    target = like(target, input, "kl_div")
    if log_target:
        nothing = target == -math.inf  # a probability of 0: 0 log 0 = 0
        share, logarithm = ops.exp(target), ops.where(nothing, 0.0, target)
    else:
        nothing = target == 0
        share, logarithm = target, ops.log(ops.where(nothing, 1.0, target))
    unlikely = nothing & (input == -math.inf)  # 0 · ∞ would be NaN
    losses = share * (logarithm - ops.where(unlikely, 0.0, input))
    if reduction == "batchmean":
        rows = max(input.shape[0] if input.ndim else 1, 1)
        return noted(ops.sum(losses) / rows, rows)
    return reduce(losses, reduction)


def _factor(value: TensorLike, input: Tensor) -> Tensor:
    value = as_tensor(value, input)
    return value if value.dtype == input.dtype else value.astype(input.dtype)


def _counted(
    input: Tensor, target: Tensor, weight: TensorLike | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return input and target with 0 where the weight is 0, because they may be NaN there."""
    if weight is None:
        return input, target, None
    weight = _factor(weight, input)
    if weight.requires_grad:  # a learned weight has a gradient at 0, too
        return input, target, weight
    counts = weight != 0
    return ops.where(counts, input, 0.0), ops.where(counts, target, 0.0), weight


def _bounded_log(p: Tensor) -> Tensor:
    positive = p > 0
    return ops.where(positive, ops.log(ops.where(positive, p, 1.0)), LOG_OF_ZERO)
