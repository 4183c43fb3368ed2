"""Activation functions with PyTorch's options that the operations do not have."""

from __future__ import annotations

from collections.abc import Callable

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_axis, check_shape, floating

__all__ = ["log_softmax", "prelu", "softmax"]


@explained
def prelu(x: TensorLike, weight: TensorLike) -> Tensor:
    """``x`` where positive, else ``weight · x`` (He et al., 2015).

    Parameters
    ----------
    x : Tensor, (..., C)
    weight : Tensor, (), (1,) or (C,)
        One learned slope for all values, or one for each channel.

    Raises
    ------
    ShapeError
        If the number of slopes is neither 1 nor C.

    Examples
    --------
    >>> prelu([-1.0, 0.0, 1.0], [0.25])
    tensor([-0.25,  0.  ,  1.  ])
    """
    x = floating(x, "prelu")
    weight = as_tensor(weight, x)
    if weight.size == 1:
        weight = weight.reshape(())
    else:
        check_shape(weight, x.shape[-1:], "the weight of prelu")
    return ops.where(x > 0, x, weight * x)


@explained
def softmax(x: TensorLike, dim: int = -1) -> Tensor:
    """``exp(x) / Σ exp(x)`` along an axis, without overflow.

    Parameters
    ----------
    x : Tensor, any shape
    dim : int
        The axis along which the results sum to 1.

    Raises
    ------
    ShapeError
        If there is no such axis.

    Examples
    --------
    >>> softmax([[1e4, 1e4, -1e4]])
    tensor([[0.5, 0.5, 0. ]])
    """
    return _along(ops.softmax, floating(x, "softmax"), dim)


@explained
def log_softmax(x: TensorLike, dim: int = -1) -> Tensor:
    """Logarithm of `softmax`, finite for all finite values.

    Parameters
    ----------
    x : Tensor, any shape
    dim : int
        The axis along which the exponentials of the results sum to 1.

    Raises
    ------
    ShapeError
        If there is no such axis.

    Examples
    --------
    >>> log_softmax([0.0, 0.0]).numpy().round(4)
    array([-0.6931, -0.6931], dtype=float32)
    """
    return _along(ops.log_softmax, floating(x, "log_softmax"), dim)


def _along(function: Callable[..., Tensor], x: Tensor, dim: int) -> Tensor:
    """Call a function along an axis; a scalar is a row of one value, as in PyTorch."""
    if x.ndim == 0:
        return function(x.reshape(1), axis=check_axis(dim, 1, "dim")).reshape(())
    return function(x, axis=check_axis(dim, x.ndim, "dim"))
