"""Hyperbolic and circular functions."""

from nnlib.ops.operation import primitive

__all__ = ["cos", "cosh", "sin", "sinh", "tanh"]


@primitive
def tanh(xp, x):
    """Hyperbolic tangent, elementwise."""
    return xp.tanh(x)


@tanh.vjp("x")
def _(g, y):
    return g * (1 - y * y)


@primitive
def sinh(xp, x):
    """Hyperbolic sine."""
    return xp.sinh(x)


@sinh.vjp("x")
def _(g, x):
    return g * cosh(x)


@primitive
def cosh(xp, x):
    """Hyperbolic cosine."""
    return xp.cosh(x)


@cosh.vjp("x")
def _(g, x):
    return g * sinh(x)


@primitive
def sin(xp, x):
    """Sine of an angle in radians."""
    return xp.sin(x)


@sin.vjp("x")
def _(g, x):
    return g * cos(x)


@primitive
def cos(xp, x):
    """Cosine of an angle in radians."""
    return xp.cos(x)


@cos.vjp("x")
def _(g, x):
    return -g * sin(x)
