"""Hyperbolic and circular functions."""

from nnlib.ops.operation import TO_FLOAT32, primitive

__all__ = ["cos", "cosh", "sin", "sinh", "tanh"]


@primitive(floats=True)
def tanh(xp, x):
    """Hyperbolic tangent h; the derivative is 1 − h².

    Examples
    --------
    >>> tanh([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.7616,  0.    ,  0.7616], dtype=float32)
    """
    return xp.tanh(x)


@tanh.vjp("x")
def _(g, y):
    return g * (1 - y * y)


@primitive(floats=True, autocast=TO_FLOAT32)
def sinh(xp, x):
    """Hyperbolic sine.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.sinh(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 1.1752], dtype=float32)
    """
    return xp.sinh(x)


@sinh.vjp("x")
def _(g, x):
    return g * cosh(x)


@primitive(floats=True, autocast=TO_FLOAT32)
def cosh(xp, x):
    """Hyperbolic cosine.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.cosh(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([1.    , 1.5431], dtype=float32)
    """
    return xp.cosh(x)


@cosh.vjp("x")
def _(g, x):
    return g * sinh(x)


@primitive(floats=True)
def sin(xp, x):
    """Sine of an angle in radians.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.sin(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 0.8415], dtype=float32)
    """
    return xp.sin(x)


@sin.vjp("x")
def _(g, x):
    return g * cos(x)


@primitive(floats=True)
def cos(xp, x):
    """Cosine of an angle in radians.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.cos(nnlib.tensor([0.0, 1.0])).numpy().round(4)
    array([1.    , 0.5403], dtype=float32)
    """
    return xp.cos(x)


@cos.vjp("x")
def _(g, x):
    return -g * sin(x)
