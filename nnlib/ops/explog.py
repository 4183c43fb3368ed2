"""Exponentials and logarithms."""

from nnlib.ops.operation import primitive

__all__ = ["erf", "exp", "expm1", "log", "log1p", "logaddexp"]

TWO_OVER_SQRT_PI = 1.1283791670955126


@primitive(floats=True)
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


@primitive(floats=True)
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


@primitive(floats=True)
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


@primitive(floats=True)
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


@primitive(floats=True)
def logaddexp(xp, a, b):
    """``log(e**a + e**b)`` without overflow.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.logaddexp(nnlib.tensor([0.0, 100.0]), 0.0).numpy().round(4)
    array([  0.6931, 100.    ], dtype=float32)
    """
    return xp.logaddexp(a, b)


@logaddexp.vjp("a")
def _(g, a, y):
    return g * exp(a - y)


@logaddexp.vjp("b")
def _(g, b, y):
    return g * exp(b - y)


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
