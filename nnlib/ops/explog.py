"""Exponentials, logarithms and the normal distribution."""

from nnlib.ops.comparison import isfinite, logical_not, where
from nnlib.ops.operation import TO_FLOAT32, primitive
from nnlib_backends import dtypes

__all__ = ["erf", "exp", "expm1", "log", "log1p", "logaddexp", "ndtr", "sigmoid"]

TWO_OVER_SQRT_PI = 1.1283791670955126
ONE_OVER_SQRT_TWO_PI = 0.3989422804014327


@primitive(floats=True, autocast=TO_FLOAT32)
def exp(xp, x):
    """``e ** x``.

    Examples
    --------
    >>> import numpy as np
    >>> exp(np.zeros(2))
    array([1., 1.])
    """
    return xp.exp(x)


@exp.vjp("x")
def _(g, y):
    return g * y


@primitive(floats=True, autocast=TO_FLOAT32)
def expm1(xp, x):
    """``e ** x - 1``, exact near 0.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.expm1(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 1.7183], dtype=float32)
    """
    return xp.expm1(x)


@expm1.vjp("x")
def _(g, y):
    return g * (y + 1)


@primitive(floats=True, autocast=TO_FLOAT32)
def log(xp, x):
    """Natural logarithm.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.log(nnlib.tensor([1.0, 2.0])).numpy().round(4)
    array([0.    , 0.6931], dtype=float32)
    """
    return xp.log(x)


@log.vjp("x")
def _(g, x):
    return g / x


@primitive(floats=True, autocast=TO_FLOAT32)
def log1p(xp, x):
    """``log(1 + x)``, exact near 0.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.log1p(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 0.6931], dtype=float32)
    """
    return xp.log1p(x)


@log1p.vjp("x")
def _(g, x):
    return g / (1 + x)


@primitive(floats=True, autocast=TO_FLOAT32)
def logaddexp(xp, a, b):
    """``log(e**a + e**b)`` without overflow.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.logaddexp(nnlib.tensor([0.0, 100.0]), 0.0).numpy().round(4)
    array([  0.6931, 100.    ], dtype=float32)
    """
    return xp.logaddexp(a, b)


# not exp(a − y), for the rounding error of a large y may be above 1
@logaddexp.vjp("a")
def _(g, a, b):
    return g * _share(a, b)


@logaddexp.vjp("b")
def _(g, a, b):
    return g * _share(b, a)


def _share(a, b):
    """``e**a / (e**a + e**b)``; one half for equal infinities."""
    infinite = (a == b) * logical_not(isfinite(a))
    return sigmoid(where(infinite, 0, a - b))


@primitive(floats=True)
def sigmoid(xp, x):
    """``h = 1 / (1 + exp(−x))``, without overflow; the derivative is h (1 − h).

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1.0]).numpy().round(4)
    array([0.    , 0.5   , 0.7311], dtype=float32)
    """
    return dtypes.sigmoid(xp, x)


@sigmoid.vjp("x")
def _(g, y):
    return g * (y * (1 - y))


@primitive(floats=True)
def erf(xp, x):
    """Error function, ``2/√π ∫₀ˣ e^(−t²) dt``.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.erf(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 0.8427], dtype=float32)
    """
    return xp.erf(x)


@erf.vjp("x")
def _(g, x):
    return g * (TWO_OVER_SQRT_PI * exp(-(x * x)))


@primitive(floats=True)
def ndtr(xp, x):
    """Distribution function of the standard normal distribution, exact in both tails.

    Examples
    --------
    >>> import nnlib
    >>> [f"{p:.4g}" for p in nnlib.ndtr(nnlib.tensor([-10.0, 0.0, 1.0])).tolist()]
    ['7.62e-24', '0.5', '0.8413']
    """
    return xp.ndtr(x)


@ndtr.vjp("x")
def _(g, x):
    return g * (ONE_OVER_SQRT_TWO_PI * exp(-0.5 * (x * x)))
