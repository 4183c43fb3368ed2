"""Normalisation over the last axis or over the batch."""

from nnlib.errors import ShapeError, describe
from nnlib.ops.operation import IN_FLOAT32, fused
from nnlib.ops.reduction import mean, var

__all__ = ["batch_norm", "layer_norm", "rms_norm"]


def _check(x, *parameters, **_):
    if not x.shape or any(p is not None and p.shape != x.shape[-1:] for p in parameters):
        raise ShapeError(
            "a normalisation needs x (..., D), weight and bias (D,). "
            f"Received: {describe(x, *parameters)}"
        )


@fused(
    samples=[([(4, 6), (6,), (6,)], {}), ([(2, 3, 33), (33,), (33,)], {"eps": 1e-3})],
    check=_check,
    autocast=IN_FLOAT32,
)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    """Normalise over the last axis (Ba, Kiros & Hinton, 2016).

    Parameters
    ----------
    x : (..., D)
    weight, bias : (D,), optional
    eps : float
        Added to the variance.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.layer_norm(tensor([[1.0, 3.0]])).numpy().round(4)
    array([[-1.,  1.]], dtype=float32)
    """
    centred = x - mean(x, axis=-1, keepdims=True)
    y = centred * (mean(centred * centred, axis=-1, keepdims=True) + eps) ** -0.5
    return _scale_shift(y, weight, bias)


@fused(
    samples=[([(4, 6), (6,)], {}), ([(2, 3, 33), (33,)], {"eps": 1e-3})],
    check=_check,
    autocast=IN_FLOAT32,
)
def rms_norm(x, weight=None, *, eps=1e-6):
    """Divide by the root mean square of the last axis (Zhang & Sennrich, 2019).

    Parameters
    ----------
    x : (..., D)
    weight : (D,), optional
    eps : float
        Added to the mean square.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.rms_norm(tensor([[3.0, -3.0]])).numpy().round(4)
    array([[ 1., -1.]], dtype=float32)
    """
    y = x * (mean(x * x, axis=-1, keepdims=True) + eps) ** -0.5
    return _scale_shift(y, weight, None)


@fused(
    samples=[([(5, 6), (6,), (6,)], {}), ([(2, 3, 4, 5), (5,), (5,)], {"eps": 1e-3})],
    check=_check,
    autocast=IN_FLOAT32,
)
def batch_norm(x, weight=None, bias=None, *, eps=1e-5):
    """Normalise each channel (the last axis) over all others (Ioffe & Szegedy, 2015).

    The statistics are those of the batch; `nnlib.nn.BatchNorm1d` keeps running ones.

    Parameters
    ----------
    x : (..., C)
    weight, bias : (C,), optional
    eps : float
        Added to the variance.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.batch_norm(tensor([[1.0], [3.0]])).numpy().round(4)
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    axes = tuple(range(x.ndim - 1))
    y = (x - mean(x, axis=axes)) * (var(x, axis=axes) + eps) ** -0.5
    return _scale_shift(y, weight, bias)


def _scale_shift(y, weight, bias):
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y
