"""Rounding, and division with integer quotient and remainder.

The derivative of a rounded value is zero, so these operations have no rule.
"""

from nnlib.ops.operation import primitive

__all__ = ["ceil", "floor", "floor_divide", "fmod", "remainder", "round", "trunc"]


@primitive(exact=False)
def floor(xp, x):
    """The largest integer ≤ x; the derivative is zero.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.floor(nnlib.tensor([-1.5, 0.5]))
    tensor([-2.,  0.])
    """
    return xp.floor(x)


@primitive(exact=False)
def ceil(xp, x):
    """The smallest integer ≥ x; the derivative is zero.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.ceil(nnlib.tensor([-1.5, 0.5]))
    tensor([-1.,  1.])
    """
    return xp.ceil(x)


@primitive(exact=False)
def trunc(xp, x):
    """The nearest integer towards zero; the derivative is zero.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.trunc(nnlib.tensor([-1.5, 2.5]))
    tensor([-1.,  2.])
    """
    return xp.trunc(x)


@primitive(exact=False)
def round(xp, x, *, decimals=0):
    """Round to ``decimals`` decimals, ties to even; the derivative is zero.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.round(nnlib.tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    """
    if x.dtype.kind == "b":  # NumPy would return float16
        return xp.logical_and(x, decimals >= 0)
    return xp.round(x, decimals)


@primitive(exact=False)
def floor_divide(xp, a, b):
    """``a // b``, the quotient rounded down; the derivative is zero.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.floor_divide(nnlib.tensor([5, -5]), 3)
    tensor([ 1, -2], dtype=int64)
    """
    return xp.floor_divide(a, b)


@primitive(exact=False)
def remainder(xp, a, b):
    """``a % b``, which has the sign of ``b``.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.remainder(nnlib.tensor([5, -5]), 3)
    tensor([2, 1], dtype=int64)
    """
    return xp.remainder(a, b)


@remainder.vjp("a")
def _(g):
    return g


@remainder.vjp("b")
def _(g, a, b):
    return -g * floor_divide(a, b)


@primitive(exact=False)
def fmod(xp, a, b):
    """Remainder of the quotient rounded towards zero, which has the sign of ``a``.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.fmod(nnlib.tensor([5, -5]), 3)
    tensor([ 2, -2], dtype=int64)
    """
    return xp.fmod(a, b)


@fmod.vjp("a")
def _(g):
    return g


@fmod.vjp("b")
def _(g, a, b):
    return -g * trunc(a / b)
