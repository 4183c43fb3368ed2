"""Activation functions: the nonlinearity between layers.

At a kink the derivative is the left one, as in every framework: ReLU'(0) = 0 (the course takes 1).
"""

from nnlib.arguments import explained
from nnlib.ops.arithmetic import abs, maximum, square
from nnlib.ops.comparison import clip, where
from nnlib.ops.explog import exp, ndtr, sigmoid
from nnlib.ops.hyperbolic import tanh
from nnlib.ops.operation import fused, primitive
from nnlib.ops.reduction import sum
from nnlib_backends.dtypes import is_floating, log_of_total, total

__all__ = [
    "elu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
]

SQRT_TWO_OVER_PI = 0.7978845608028654
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
NORMAL, LOGISTIC = 40.0, 800.0  # where these distribution functions are 0 or 1 in any dtype


@primitive
def relu(xp, x):
    """Rectified linear unit, ``max(x, 0)``; its derivative at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return xp.maximum(x, 0)


@relu.vjp("x")
def _(g, y):
    return g * (y > 0)


@primitive(floats=True)
def softplus(xp, x):
    """``log(1 + exp(x))``, a smooth ReLU; its derivative is the sigmoid.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.softplus(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([0.3133, 0.6931, 1.3133], dtype=float32)
    """
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@softplus.vjp("x")
def _(g, x):
    return g * sigmoid(x)


@primitive
def leaky_relu(xp, x, *, negative_slope=0.01):
    """``x`` where positive, else ``negative_slope * x``.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.leaky_relu(tensor([-1.0, 0.0, 1.0]), negative_slope=0.5)
    tensor([-0.5,  0. ,  1. ])
    """
    return xp.where(x > 0, x, negative_slope * x)


@leaky_relu.vjp("x")
def _(g, x, negative_slope):
    return where(x > 0, g, negative_slope * g)


@primitive(floats=True)
def elu(xp, x, *, alpha=1.0):
    """``x`` where positive, else ``alpha * (exp(x) − 1)`` (Clevert et al., 2015).

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.elu(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-0.6321,  0.    ,  1.    ], dtype=float32)
    """
    return xp.where(x > 0, x, alpha * xp.expm1(xp.where(x > 0, 0, x)))


@elu.vjp("x")
def _(g, x, alpha):
    return where(x > 0, g, g * (alpha * exp(-maximum(-x, 0))))


@explained
def selu(x):
    """Self-normalising ELU with fixed scale and alpha (Klambauer et al., 2017).

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.selu(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-1.1113,  0.    ,  1.0507], dtype=float32)
    """
    return SELU_SCALE * elu(x, alpha=SELU_ALPHA)


@fused(samples=[([(3, 5)], {}), ([(4, 33)], {"approximate": "tanh"})])
def gelu(x, *, approximate="none"):
    """``x Φ(x)`` with Φ the normal distribution function (Hendrycks & Gimpel, 2016).

    Parameters
    ----------
    x : array, any shape
    approximate : {"none", "tanh"}
        The exact form, or the authors' approximation by tanh, as GPT-2 uses it.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.gelu(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    inside = clip(x, min=-NORMAL, max=NORMAL)
    if approximate == "tanh":  # (1 + tanh(z)) / 2 would be 0 long before its limit
        cubic = inside + 0.044715 * inside * inside * inside
        return maximum(x, -NORMAL) * sigmoid(2 * SQRT_TWO_OVER_PI * cubic)
    return maximum(x, -NORMAL) * ndtr(inside)


@fused(samples=[([(3, 5)], {})])
def silu(x):
    """``x * sigmoid(x)``, also known as swish.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.silu(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-0.2689,  0.    ,  0.7311], dtype=float32)
    """
    return maximum(x, -LOGISTIC) * sigmoid(clip(x, min=-LOGISTIC, max=LOGISTIC))


@explained
def mish(x):
    """``x * tanh(softplus(x))`` (Misra, 2019).

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.mish(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-0.3034,  0.    ,  0.8651], dtype=float32)
    """
    return maximum(x, -LOGISTIC) * tanh(softplus(clip(x, min=-LOGISTIC, max=LOGISTIC)))


@explained
def hardtanh(x, min_val=-1.0, max_val=1.0):
    """Limit to [min_val, max_val]; the derivative at the limits is 0.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.hardtanh(tensor([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    return where(x <= min_val, min_val, where(x >= max_val, max_val, x))


@primitive(floats=True)
def softsign(xp, x):
    """``x / (1 + |x|)``.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.softsign(tensor([-1.0, 0.0, 1.0]))
    tensor([-0.5,  0. ,  0.5])
    """
    size = xp.abs(x)
    inside = xp.where(xp.isinf(size), 0, x)
    return xp.where(xp.isinf(size), xp.sign(x), inside / (1 + xp.abs(inside)))


@softsign.vjp("x")
def _(g, x):
    return g / square(1 + abs(x))


@explained
def log_sigmoid(x):
    """``log(sigmoid(x))`` without overflow.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.log_sigmoid(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-1.3133, -0.6931, -0.3133], dtype=float32)
    """
    x = _as_float(x)
    return -softplus(-x)


def _as_float(x):
    """Make floats of integers, for what could leave their range on the way to a fraction."""
    return x if is_floating(x.dtype) else x * 1.0


@primitive(floats=True)
def softmax(xp, x, *, axis=-1):
    """``exp(x) / sum(exp(x))`` along an axis, without overflow.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.softmax(nnlib.tensor([0.0, 0.0, -1000.0]))
    tensor([0.5, 0.5, 0. ])
    """
    if x.size == 0:  # a maximum of nothing would be refused
        return x.copy()
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / total(xp, e, axis, keepdims=True)


@softmax.vjp("x")
def _(g, y, axis):
    return y * (g - sum(g * y, axis=axis, keepdims=True))


@primitive(floats=True)
def log_softmax(xp, x, *, axis=-1):
    """Logarithm of `softmax`, without overflow.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.log_softmax(tensor([-1.0, 0.0, 1.0])).numpy().round(4)
    array([-2.4076, -1.4076, -0.4076], dtype=float32)
    """
    if x.size == 0:
        return x.copy()
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - log_of_total(xp, xp.exp(shifted), axis)


@log_softmax.vjp("x")
def _(g, y, axis):
    return g - exp(y) * sum(g, axis=axis, keepdims=True)
