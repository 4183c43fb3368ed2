"""Activation functions on tensors, with PyTorch's names and options.

Each takes floating-point values of any shape (others are a DTypeError) and returns the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor
from nnlib.errors import OptionError
from nnlib.nn.functional.checks import (
    TensorLike,
    as_tensor,
    check_axis,
    check_choice,
    check_shape,
    floating,
)

__all__ = [
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]


@explained
def relu(x: TensorLike) -> Tensor:
    """``max(x, 0)``.  Its derivative at 0 is 0, as in every framework (some courses take 1).

    Examples
    --------
    >>> relu([-1.0, 0.0, 2.0])
    tensor([0., 0., 2.])
    """
    return ops.relu(floating(x, "relu"))


@explained
def relu6(x: TensorLike) -> Tensor:
    """``min(max(x, 0), 6)`` (Krizhevsky, 2010).

    Examples
    --------
    >>> relu6([-1.0, 2.0, 9.0])
    tensor([0., 2., 6.])
    """
    return hardtanh(x, 0.0, 6.0)


@explained
def leaky_relu(x: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """``x`` where positive, else ``negative_slope · x`` (Maas et al., 2013).

    Parameters
    ----------
    x : Tensor, of any shape
    negative_slope : float
        The slope for negative values.

    Examples
    --------
    >>> leaky_relu([-1.0, 0.0, 1.0], 0.5)
    tensor([-0.5,  0. ,  1. ])
    """
    return ops.leaky_relu(floating(x, "leaky_relu"), negative_slope=negative_slope)


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
        If there are neither 1 nor C slopes.

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
def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha · (exp(x) − 1)`` (Clevert et al., 2015).

    Parameters
    ----------
    x : Tensor, of any shape
    alpha : float
        Minus the value for very negative x.

    Examples
    --------
    >>> elu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.6321,  0.    ,  1.    ], dtype=float32)
    """
    return ops.elu(floating(x, "elu"), alpha=alpha)


@explained
def selu(x: TensorLike) -> Tensor:
    """Scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Examples
    --------
    >>> selu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-1.1113,  0.    ,  1.0507], dtype=float32)
    """
    return ops.selu(floating(x, "selu"))  # type: ignore[no-any-return]


@explained
def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """``x Φ(x)`` with Φ the normal distribution function (Hendrycks & Gimpel, 2016).

    Parameters
    ----------
    x : Tensor
    approximate : {"none", "tanh"}
        The exact form, or the authors' approximation by tanh.

    Raises
    ------
    OptionError
        If ``approximate`` is another word.

    Examples
    --------
    >>> gelu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    check_choice(approximate, ("none", "tanh"), "approximate")
    return ops.gelu(floating(x, "gelu"), approximate=approximate)


@explained
def silu(x: TensorLike) -> Tensor:
    """``x · sigmoid(x)``, also known as swish (Elfwing et al., 2017).

    Examples
    --------
    >>> silu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.2689,  0.    ,  0.7311], dtype=float32)
    """
    return ops.silu(floating(x, "silu"))


@explained
def mish(x: TensorLike) -> Tensor:
    """``x · tanh(softplus(x))`` (Misra, 2019).

    Examples
    --------
    >>> mish([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.3034,  0.    ,  0.8651], dtype=float32)
    """
    return ops.mish(floating(x, "mish"))  # type: ignore[no-any-return]


@explained
def hardtanh(x: TensorLike, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Limit to [min_val, max_val]; the derivative at the limits is 0.

    Parameters
    ----------
    x : Tensor, of any shape
    min_val, max_val : float
        The limits.

    Raises
    ------
    OptionError
        Unless ``min_val <= max_val``.

    Examples
    --------
    >>> hardtanh([-3.0, 0.5, 3.0])
    tensor([-1. ,  0.5,  1. ])
    """
    if not min_val <= max_val:
        raise OptionError(f"min_val <= max_val must hold. Received: {min_val}, {max_val}")
    return ops.hardtanh(floating(x, "hardtanh"), min_val, max_val)  # type: ignore[no-any-return]


@explained
def hardsigmoid(x: TensorLike) -> Tensor:
    """``min(max(x + 3, 0), 6) / 6``, a sigmoid of straight lines.

    Examples
    --------
    >>> hardsigmoid([-4.0, 0.0, 3.0]).numpy().round(4)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return relu6(floating(x, "hardsigmoid") + 3.0) / 6.0


@explained
def hardswish(x: TensorLike) -> Tensor:
    """``x · hardsigmoid(x)`` (Howard et al., 2019).

    Examples
    --------
    >>> hardswish([-4.0, 0.0, 3.0]).numpy().round(4)
    array([-0.,  0.,  3.], dtype=float32)
    """
    x = floating(x, "hardswish")
    return x * hardsigmoid(x)


@explained
def sigmoid(x: TensorLike) -> Tensor:
    """``h = 1 / (1 + exp(−x))``, without overflow; the derivative is h (1 − h).

    Examples
    --------
    >>> sigmoid([-1.0, 0.0, 1.0]).numpy().round(4)
    array([0.2689, 0.5   , 0.7311], dtype=float32)
    """
    return ops.sigmoid(floating(x, "sigmoid"))


@explained
def logsigmoid(x: TensorLike) -> Tensor:
    """``log(sigmoid(x))``, finite for every finite x.

    Examples
    --------
    >>> logsigmoid([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-1.3133, -0.6931, -0.3133], dtype=float32)
    """
    return ops.log_sigmoid(floating(x, "logsigmoid"))  # type: ignore[no-any-return]


@explained
def tanh(x: TensorLike) -> Tensor:
    """Hyperbolic tangent h; the derivative is 1 − h².

    Examples
    --------
    >>> tanh([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.7616,  0.    ,  0.7616], dtype=float32)
    """
    return ops.tanh(floating(x, "tanh"))


@explained
def softplus(x: TensorLike, beta: float = 1.0) -> Tensor:
    """``log(1 + exp(beta · x)) / beta``, a smooth ReLU; the derivative is the sigmoid.

    Parameters
    ----------
    x : Tensor, of any shape
    beta : float
        The larger, the closer to ReLU; positive.

    Raises
    ------
    OptionError
        If ``beta`` is not positive.

    Examples
    --------
    >>> softplus([-1.0, 0.0, 1.0]).numpy().round(4)
    array([0.3133, 0.6931, 1.3133], dtype=float32)
    """
    if not beta > 0:
        raise OptionError(f"beta must be positive. Received: {beta}")
    x = floating(x, "softplus")
    return ops.softplus(x) if beta == 1 else ops.softplus(x * beta) / beta


@explained
def softsign(x: TensorLike) -> Tensor:
    """``x / (1 + |x|)``.

    Examples
    --------
    >>> softsign([-1.0, 0.0, 1.0])
    tensor([-0.5,  0. ,  0.5])
    """
    return ops.softsign(floating(x, "softsign"))


@explained
def softmax(x: TensorLike, dim: int = -1) -> Tensor:
    """``exp(x) / Σ exp(x)`` along an axis, without overflow.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis over which the results add up to 1.

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
    x : Tensor, of any shape
    dim : int
        The axis over which the exponentials of the results add up to 1.

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
    """Call a function along an axis; a number counts as a row of one, as in PyTorch."""
    if x.ndim == 0:
        return function(x.reshape(1), axis=check_axis(dim, 1, "dim")).reshape(())
    return function(x, axis=check_axis(dim, x.ndim, "dim"))
