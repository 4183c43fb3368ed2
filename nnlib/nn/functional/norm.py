"""Normalisations; channels and features are on the last axis."""

from __future__ import annotations

import math

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor, no_grad
from nnlib.errors import OptionError, ShapeError
from nnlib.nn.functional.checks import TensorLike, check_shape, float32_inside, floating

__all__ = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]


@explained
def layer_norm(
    x: TensorLike,
    normalized_shape: int | tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Subtract the mean of each sample's last axes and divide by their standard deviation.

    Source: Ba, Kiros & Hinton (2016).

    Parameters
    ----------
    x : Tensor, (..., *normalized_shape)
    normalized_shape : int or tuple of int
        The last axes.
    weight, bias : Tensor, normalized_shape, optional
    eps : float
        Added to the biased variance.

    Raises
    ------
    ShapeError
        If the last axes or the parameters have another shape.

    Examples
    --------
    >>> layer_norm([[1.0, 3.0]], 2, eps=0.0)
    tensor([[-1.,  1.]])
    """
    x = floating(x, "layer_norm")
    shape, rows = _last_axes(x, normalized_shape)
    check_shape(weight, shape, "the weight of layer_norm")
    check_shape(bias, shape, "the bias of layer_norm")
    if len(shape) == 1:
        return ops.layer_norm(x, weight, bias, eps=eps)
    weight = None if weight is None else weight.reshape(-1)
    bias = None if bias is None else bias.reshape(-1)
    return ops.layer_norm(x.reshape(rows), weight, bias, eps=eps).reshape(x.shape)


@explained
def rms_norm(
    x: TensorLike,
    normalized_shape: int | tuple[int, ...],
    weight: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Divide by the root mean square of each sample's last axes (Zhang & Sennrich, 2019).

    Parameters and errors are those of `layer_norm`, without a bias; ``eps`` is added to the mean
    square.

    Examples
    --------
    >>> rms_norm([[3.0, -3.0]], 2).numpy().round(4)
    array([[ 1., -1.]], dtype=float32)
    """
    x = floating(x, "rms_norm")
    shape, rows = _last_axes(x, normalized_shape)
    check_shape(weight, shape, "the weight of rms_norm")
    if len(shape) == 1:
        return ops.rms_norm(x, weight, eps=eps)
    weight = None if weight is None else weight.reshape(-1)
    return ops.rms_norm(x.reshape(rows), weight, eps=eps).reshape(x.shape)


def _last_axes(
    x: Tensor, normalized_shape: int | tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the normalised shape, and the shape of x with these axes joined to one."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"the last axes must be {shape}. Received: {x.dtype} {x.shape}")
    return shape, (*x.shape[: -len(shape)], math.prod(shape))


@explained
@float32_inside
def group_norm(
    x: TensorLike,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample over groups of channels and all positions (Wu & He, 2018).

    Parameters
    ----------
    x : Tensor, (N, ..., C)
    num_groups : int
        Must divide C.
    weight, bias : Tensor, (C,), optional
    eps : float
        Added to the variance.

    Raises
    ------
    ShapeError
        If x has no batch axis, or the groups do not divide the channels.

    Examples
    --------
    >>> group_norm([[1.0, 3.0, 10.0, 30.0]], 2, eps=0.0).numpy().round(4)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """
    x = floating(x, "group_norm")
    if x.ndim < 2:
        raise ShapeError(
            f"group_norm needs x of at least two axes, (N, ..., C). Received: {x.dtype} {x.shape}"
        )
    if num_groups < 1 or x.shape[-1] % num_groups:
        raise ShapeError(
            f"num_groups = {num_groups} must divide the channels of x (N, ..., C). "
            f"Received: {x.dtype} {x.shape}"
        )
    check_shape(weight, x.shape[-1:], "the weight of group_norm")
    check_shape(bias, x.shape[-1:], "the bias of group_norm")
    y = x
    if x.size:  # an empty array has no mean
        groups = x.reshape(x.shape[0], -1, num_groups, x.shape[-1] // num_groups)
        centred = groups - ops.mean(groups, axis=(1, 3), keepdims=True)
        variance = ops.mean(centred * centred, axis=(1, 3), keepdims=True)
        y = (centred * (variance + eps) ** -0.5).reshape(x.shape)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@explained
def batch_norm(
    x: TensorLike,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch and all positions (Ioffe & Szegedy, 2015).

    Parameters
    ----------
    x : Tensor, (N, ..., C)
    running_mean, running_var : Tensor, (C,), or None
        In training they are updated in place by the batch's mean and unbiased variance;
        otherwise they are used instead of the batch's own.
    weight, bias : Tensor, (C,), optional
    training : bool
    momentum : float
        Weight of the batch in the update: running + momentum · (batch − running).
    eps : float
        Added to the variance.

    Raises
    ------
    ShapeError
        If a parameter has another shape, or a training batch has one value per channel.
    OptionError
        If there are no running values in evaluation.

    Examples
    --------
    >>> batch_norm([[1.0], [3.0]], None, None, training=True, eps=0.0).numpy().round(4)
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    x = floating(x, "batch_norm")
    if x.ndim < 2:
        raise ShapeError(f"batch_norm needs x (N, ..., C). Received: {x.dtype} {x.shape}")
    given = {"weight": weight, "bias": bias, "mean": running_mean, "var": running_var}
    for name, value in given.items():
        check_shape(value, x.shape[-1:], f"the {name} of batch_norm")
    if not training:
        if running_mean is None or running_var is None:
            raise OptionError("batch_norm needs running_mean and running_var when not training")
        return _by_running(x, running_mean, running_var, weight, bias, eps)
    if math.prod(x.shape[:-1]) < 2:
        raise ShapeError(
            "batch_norm needs more than one value per channel when training. "
            f"Received: {x.dtype} {x.shape}"
        )
    if running_mean is not None and running_var is not None:
        _follow(running_mean, running_var, x.detach(), momentum)
    return ops.batch_norm(x, weight, bias, eps=eps)


@float32_inside
def _by_running(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalise by running statistics."""
    scale = (var + eps) ** -0.5
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return x * scale + (shift if bias is None else shift + bias)


@no_grad()
def _follow(running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float | Tensor) -> None:
    """Update the running statistics by the batch's."""
    axes = tuple(range(x.ndim - 1))
    running_mean += (x.mean(axis=axes) - running_mean) * momentum
    running_var += (x.var(axis=axes, ddof=1) - running_var) * momentum
