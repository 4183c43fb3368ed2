"""Activation functions, elementwise.

At a kink the derivative is the left one, as in every framework: ReLU'(0) = 0 (the course takes 1).
"""

from nnlib.arguments import check_choice, explained
from nnlib.errors import OptionError
from nnlib.ops.arithmetic import abs, add, divide, maximum, multiply, square
from nnlib.ops.comparison import clip, greater_equal, less_equal, where
from nnlib.ops.explog import exp, ndtr, sigmoid
from nnlib.ops.hyperbolic import tanh
from nnlib.ops.operation import fused, primitive
from nnlib_backends.dtypes import LOGISTIC, NORMAL

__all__ = [
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "silu",
    "softplus",
    "softsign",
]

SQRT_TWO_OVER_PI = 0.7978845608028654
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@primitive
def relu(xp, x):
    """``max(x, 0)``.  Its derivative at 0 is 0, as in every framework (some courses take 1).

    Examples
    --------
    >>> relu([-1.0, 0.0, 2.0])
    tensor([0., 0., 2.])
    """
    return xp.maximum(x, 0)


@relu.vjp("x")
def _(g, y):
    return g * (y > 0)


@primitive(floats=True)
def softplus(xp, x, *, beta=1.0):
    """``log(1 + exp(beta · x)) / beta``, a smooth ReLU; the derivative is the sigmoid.

    Parameters
    ----------
    x : Tensor or array, any shape
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
    z = x if beta == 1 else beta * x
    y = xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))
    return y if beta == 1 else y / beta


@softplus.vjp("x")
def _(g, x, beta):
    return g * sigmoid(x if beta == 1 else beta * x)


@primitive
def leaky_relu(xp, x, *, negative_slope=0.01):
    """``x`` where positive, else ``negative_slope · x`` (Maas et al., 2013).

    Parameters
    ----------
    x : Tensor or array, any shape
    negative_slope : float
        The slope for negative values.

    Examples
    --------
    >>> leaky_relu([-1.0, 0.0, 1.0])
    tensor([-0.01,  0.  ,  1.  ])
    """
    return xp.where(x > 0, x, negative_slope * x)


@leaky_relu.vjp("x")
def _(g, x, negative_slope):
    return where(x > 0, g, negative_slope * g)


@primitive(floats=True)
def elu(xp, x, *, alpha=1.0):
    """``x`` where positive, else ``alpha · (exp(x) − 1)`` (Clevert et al., 2015).

    Parameters
    ----------
    x : Tensor or array, any shape
    alpha : float
        The limit for x → −∞ is ``-alpha``.

    Examples
    --------
    >>> elu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.6321,  0.    ,  1.    ], dtype=float32)
    """
    return xp.where(x > 0, x, alpha * xp.expm1(xp.where(x > 0, 0, x)))


@elu.vjp("x")
def _(g, x, alpha):
    return where(x > 0, g, g * (alpha * exp(-maximum(-x, 0))))


@explained
def selu(x):
    """Scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Examples
    --------
    >>> selu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-1.1113,  0.    ,  1.0507], dtype=float32)
    """
    return SELU_SCALE * elu(x, alpha=SELU_ALPHA)


def _check_approximate(x, *, approximate):
    check_choice(approximate, ("none", "tanh"), "approximate")


@fused(
    samples=[([(3, 5)], {}), ([(4, 33)], {"approximate": "tanh"})],
    check=_check_approximate,
)
def gelu(x, *, approximate="none"):
    """``x Φ(x)`` with Φ the normal distribution function (Hendrycks & Gimpel, 2016).

    Parameters
    ----------
    x : Tensor or array, any shape
    approximate : {"none", "tanh"}
        The exact form, or the authors' approximation by tanh, as GPT-2 uses it.

    Raises
    ------
    OptionError
        If ``approximate`` is neither.

    Examples
    --------
    >>> gelu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    inside = clip(x, min=-NORMAL, max=NORMAL)
    if approximate == "tanh":  # for negative z, (1 + tanh(z)) / 2 would underflow too early
        cubic = inside + 0.044715 * inside * inside * inside
        return maximum(x, -NORMAL) * sigmoid(2 * SQRT_TWO_OVER_PI * cubic)
    return maximum(x, -NORMAL) * ndtr(inside)


@fused(samples=[([(3, 5)], {})])
def silu(x):
    """``x · sigmoid(x)``, also known as swish (Elfwing et al., 2017).

    Examples
    --------
    >>> silu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.2689,  0.    ,  0.7311], dtype=float32)
    """
    return maximum(x, -LOGISTIC) * sigmoid(clip(x, min=-LOGISTIC, max=LOGISTIC))


@explained
def mish(x):
    """``x · tanh(softplus(x))`` (Misra, 2019).

    Examples
    --------
    >>> mish([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.3034,  0.    ,  0.8651], dtype=float32)
    """
    return maximum(x, -LOGISTIC) * tanh(softplus(clip(x, min=-LOGISTIC, max=LOGISTIC)))


@explained
def hardtanh(x, min_val=-1.0, max_val=1.0):
    """Limit to [min_val, max_val]; the derivative at the limits is 0.

    Parameters
    ----------
    x : Tensor or array, any shape
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
    return where(less_equal(x, min_val), min_val, where(greater_equal(x, max_val), max_val, x))


@explained
def relu6(x):
    """``min(max(x, 0), 6)`` (Krizhevsky, 2010).

    Examples
    --------
    >>> relu6([-1.0, 2.0, 9.0])
    tensor([0., 2., 6.])
    """
    return hardtanh(x, 0.0, 6.0)


@explained
def hardsigmoid(x):
    """``min(max(x + 3, 0), 6) / 6``, a piecewise linear sigmoid.

    Examples
    --------
    >>> hardsigmoid([-4.0, 0.0, 3.0]).numpy().round(4)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return divide(relu6(add(x, 3.0)), 6.0)


@explained
def hardswish(x):
    """``x · hardsigmoid(x)`` (Howard et al., 2019).

    Examples
    --------
    >>> hardswish([-4.0, 0.0, 3.0]).numpy().round(4)
    array([-0.,  0.,  3.], dtype=float32)
    """
    return multiply(x, hardsigmoid(x))


@primitive(floats=True)
def softsign(xp, x):
    """``x / (1 + |x|)``.

    Examples
    --------
    >>> softsign([-1.0, 0.0, 1.0])
    tensor([-0.5,  0. ,  0.5])
    """
    size = xp.abs(x)
    inside = xp.where(xp.isinf(size), 0, x)
    return xp.where(xp.isinf(size), xp.sign(x), inside / (1 + xp.abs(inside)))


@softsign.vjp("x")
def _(g, x):
    return g / square(1 + abs(x))


@explained
def logsigmoid(x):
    """``log(sigmoid(x))``, finite for every finite x.

    Examples
    --------
    >>> logsigmoid([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-1.3133, -0.6931, -0.3133], dtype=float32)
    """
    return -softplus(multiply(x, -1.0))  # -x would overflow for some integers


log_sigmoid = logsigmoid  #: an older name
