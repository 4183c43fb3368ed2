"""Losses of classifiers: class labels against logits or log-probabilities."""

from __future__ import annotations

import math

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, LabelError, ShapeError
from nnlib.nn.functional.checks import (
    TensorLike,
    as_tensor,
    check_fraction,
    check_range,
    check_shape,
    float32_inside,
    floating,
    reduce,
)
from nnlib.nn.functional.counted import noted
from nnlib.nn.functional.layers import one_hot
from nnlib.tracing import current
from nnlib_backends.base import IGNORED
from nnlib_backends.dtypes import is_floating

__all__ = ["cross_entropy", "nll_loss"]


@explained
@float32_inside
def cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    ignore_index: int | None = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax and cross-entropy in one: ``−log softmax(x)[label]``.

    Finite, with finite gradients, for all finite logits.

    Parameters
    ----------
    input : Tensor, (..., C)
        Logits: the values before the softmax; the classes are on the last axis.
    target : Tensor, (...) of integers, or (..., C) of floats
        Class labels in [0, C), or the probabilities of all classes.  The range of labels is
        checked on the CPU only.
    weight : Tensor, (C,), optional
        Factor of each class.
    ignore_index : int or None
        Instances with this label count neither in the loss nor in the mean.  An instance that does
        not count, by its label or by a weight of 0, has a loss and a gradient of 0, whatever its
        logits are.
    reduction : {"mean", "sum", "none"}
        The mean of labels is weighted by their classes' weights; it is 0 if all are ignored.
    label_smoothing : float
        In [0, 1]: this share of the target is spread over all classes (Szegedy et al., 2016).

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DTypeError
        If the logits are no floats, or the labels no integers.
    LabelError
        If a label is out of range.

    Examples
    --------
    >>> print(f"{cross_entropy([[0.0, 0.0], [1e4, -1e4]], [1, 0]):.4f}")
    0.3466
    """
    logits = floating(input, "cross_entropy")
    check_fraction(label_smoothing, "label_smoothing")
    target, weight = as_tensor(target, logits), _class_weight(weight, logits)
    if target.shape == logits.shape and is_floating(target.dtype):
        shares = _smooth(target.astype(logits.dtype), label_smoothing)
        return reduce(_share_losses(logits, shares, weight), reduction)
    labels, counted = _labels(target, logits, ignore_index, "cross_entropy")
    rows = _flat(logits, 2)
    importance = _importance(labels, counted, weight)
    if label_smoothing == 0:
        counted = _counted(counted, importance, weight)
        if counted is not None:
            labels = ops.where(counted, labels.astype("int64"), IGNORED)
        losses = ops.softmax_cross_entropy(rows, labels)
        losses = losses if importance is None else losses * importance
    else:
        if counted is not None:
            rows = ops.where(ops.expand_dims(counted, axis=-1), rows, 0.0)
        shares = _smooth(one_hot(labels, rows.shape[1], logits.dtype), label_smoothing)
        losses = _share_losses(rows, shares, weight)
        losses = losses if counted is None else ops.where(counted, losses, 0.0)
    return _reduce(losses, counted if importance is None else importance, target.shape, reduction)


@explained
@float32_inside
def nll_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    ignore_index: int | None = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: ``−x[label]`` of log-probabilities x.

    Parameters
    ----------
    input : Tensor, (..., C)
        From `log_softmax`.
    target : Tensor, (...) of integers
    weight, ignore_index, reduction
        See `cross_entropy`, which is this after `log_softmax`.

    Raises
    ------
    ShapeError, DTypeError, LabelError
        See `cross_entropy`.

    Examples
    --------
    >>> nll_loss([[-0.5, -1.0]], [1])
    tensor(1.)
    """
    scores = floating(input, "nll_loss")
    target, weight = as_tensor(target, scores), _class_weight(weight, scores)
    labels, counted = _labels(target, scores, ignore_index, "nll_loss")
    rows = _flat(scores, 2)
    chosen = ops.take_along_axis(rows, ops.expand_dims(labels, axis=-1), axis=-1)
    losses = -ops.squeeze(chosen, axis=-1)
    importance = _importance(labels, counted, weight)
    counted = _counted(counted, importance, weight)
    losses = losses if counted is None else ops.where(counted, losses, 0.0)
    losses = losses if importance is None else losses * importance
    return _reduce(losses, counted if importance is None else importance, target.shape, reduction)


def _class_weight(weight: TensorLike | None, logits: Tensor) -> Tensor | None:
    if logits.ndim == 0:
        raise ShapeError("the classes must be on the last axis. Received: a single number")
    if weight is None:
        return None
    weight = as_tensor(weight, logits)
    check_shape(weight, logits.shape[-1:], "the weight of the classes")
    return weight if weight.dtype == logits.dtype else weight.astype(logits.dtype)


def _labels(
    target: Tensor, logits: Tensor, ignore_index: int | None, name: str
) -> tuple[Tensor, Tensor | None]:
    """Return flat labels in range, and a mask of those that count; None if all do."""
    if target.shape != logits.shape[:-1]:
        raise ShapeError(
            f"{name} needs labels of shape {logits.shape[:-1]} for logits {logits.shape} (classes "
            f"on the last axis), or probabilities of the logits' shape. "
            f"Received: {target.dtype} {target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(
            f"{name} needs integer class labels. Received: {target.dtype} {target.shape}. "
            "Convert them: labels.astype('int64')"
        )
    labels, counted = _flat(target, 1), None
    if all_count(labels, logits.shape[-1], ignore_index):
        return labels, None
    # On a device the values are not checked: every batch takes the same path.
    if ignore_index is not None and (ignore_index >= 0 or target.dtype.kind == "i"):
        kept = labels != ignore_index
        labels, counted = ops.where(kept, labels, 0), kept
    check_range(labels, 0, logits.shape[-1] - 1, LabelError, "class labels")
    return labels, counted


def all_count(labels: Tensor, classes: int, ignore_index: int | None) -> bool:
    """Whether labels are in host memory, and none is ignored or out of range."""
    backend = labels.backend
    if not backend.host_memory or labels.size == 0:
        return False
    if ignore_index is not None and 0 <= ignore_index < classes:
        return False  # any batch may contain it
    inside = backend.inside(labels.data, 0, classes - 1)
    tracing = current()
    if tracing is None:
        return inside()
    if tracing.tracer.made(labels.data):
        return False  # not known before a replay
    seen = inside()
    tracing.note_guard(inside if seen else lambda: not inside())
    return seen


def _flat(x: Tensor, ndim: int) -> Tensor:
    """Join all axes but the last ``ndim - 1``."""
    return x if x.ndim == ndim else x.reshape(-1, *x.shape[x.ndim - ndim + 1 :])


def _importance(labels: Tensor, counted: Tensor | None, weight: Tensor | None) -> Tensor | None:
    """Return the class weight of each sample, 0 if it is ignored; None without weights."""
    if weight is None:
        return None
    factors = weight[labels]
    return factors if counted is None else ops.where(counted, factors, 0.0)


def _counted(
    counted: Tensor | None, importance: Tensor | None, weight: Tensor | None
) -> Tensor | None:
    """Return a mask of the samples that count, without classes of weight 0; None if all do."""
    if weight is None or importance is None or weight.requires_grad:
        return counted  # a learned weight has a gradient at 0, too
    return importance != 0


def _smooth(shares: Tensor, smoothing: float) -> Tensor:
    return shares if smoothing == 0 else shares * (1 - smoothing) + smoothing / shares.shape[-1]


def _share_losses(logits: Tensor, shares: Tensor, weight: Tensor | None) -> Tensor:
    """``−Σ share · log softmax`` over the classes, with 0 log 0 = 0."""
    shares = shares if weight is None else shares * weight
    scores = ops.log_softmax(logits, axis=-1)
    nothing = (shares == 0) & (scores == -math.inf)
    return -ops.sum(ops.where(nothing, 0.0, scores) * shares, axis=-1)


def _reduce(
    losses: Tensor, importance: Tensor | None, shape: tuple[int, ...], reduction: str
) -> Tensor:
    """Combine losses; ``importance`` is the weight of each in the mean, or whether it counts."""
    if importance is None or reduction != "mean" or math.prod(shape) == 0:
        return reduce(losses if losses.shape == shape else losses.reshape(shape), reduction)
    total = ops.sum(importance.astype(losses.dtype))
    mean = ops.sum(losses) / ops.where(total == 0, 1.0, total)
    # float16 has no odd integers beyond 2048
    exact = total if total.dtype.itemsize >= 4 else ops.sum(importance.astype("float32"))
    return noted(mean, exact)
