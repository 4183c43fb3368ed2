"""Comparisons and choices between values."""

from nnlib.ops.operation import primitive

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "bitwise_and",
    "bitwise_or",
    "clip",
    "equal",
    "greater",
    "greater_equal",
    "invert",
    "isfinite",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "not_equal",
    "where",
]


@primitive
def equal(xp, a, b):
    """``a == b``, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.equal(nnlib.tensor([1, 2, 3]), 2)
    tensor([False,  True, False], dtype=bool)
    """
    return xp.equal(a, b)


@primitive
def not_equal(xp, a, b):
    """``a != b``, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.not_equal(nnlib.tensor([1, 2, 3]), 2)
    tensor([ True, False,  True], dtype=bool)
    """
    return xp.not_equal(a, b)


@primitive
def less(xp, a, b):
    """``a < b``, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.less(nnlib.tensor([1, 2, 3]), 2)
    tensor([ True, False, False], dtype=bool)
    """
    return xp.less(a, b)


@primitive
def less_equal(xp, a, b):
    """``a <= b``, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.less_equal(nnlib.tensor([1, 2, 3]), 2)
    tensor([ True,  True, False], dtype=bool)
    """
    return xp.less_equal(a, b)


@primitive
def greater(xp, a, b):
    """``a > b``, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.greater(nnlib.tensor([1, 2, 3]), 2)
    tensor([False, False,  True], dtype=bool)
    """
    return xp.greater(a, b)


@primitive
def greater_equal(xp, a, b):
    """``a >= b``, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.greater_equal(nnlib.tensor([1, 2, 3]), 2)
    tensor([False,  True,  True], dtype=bool)
    """
    return xp.greater_equal(a, b)


@primitive
def bitwise_and(xp, a, b):
    """``a & b`` of integers or booleans, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.bitwise_and(nnlib.tensor([6, 3]), 2)
    tensor([2, 2], dtype=int64)
    """
    return xp.bitwise_and(a, b)


@primitive
def bitwise_or(xp, a, b):
    """``a | b`` of integers or booleans, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.bitwise_or(nnlib.tensor([6, 3]), 8)
    tensor([14, 11], dtype=int64)
    """
    return xp.bitwise_or(a, b)


@primitive
def invert(xp, x):
    """``~x`` of integers or booleans, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.invert(nnlib.tensor([True, False]))
    tensor([False,  True], dtype=bool)
    """
    return xp.invert(x)


@primitive
def logical_and(xp, a, b):
    """Both true (not zero), elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.logical_and(nnlib.tensor([2, 1, 0]), nnlib.tensor([1, 0, 0]))
    tensor([ True, False, False], dtype=bool)
    """
    return xp.logical_and(a, b)


@primitive
def logical_or(xp, a, b):
    """At least one true (not zero), elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.logical_or(nnlib.tensor([2, 1, 0]), nnlib.tensor([1, 0, 0]))
    tensor([ True,  True, False], dtype=bool)
    """
    return xp.logical_or(a, b)


@primitive
def logical_not(xp, x):
    """Not true (zero), elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.logical_not(nnlib.tensor([2, 1, 0]))
    tensor([False, False,  True], dtype=bool)
    """
    return xp.logical_not(x)


@primitive
def any(xp, x, *, axis=None, keepdims=False):
    """Whether any value along an axis, several, or all is true (not zero).

    Examples
    --------
    >>> import nnlib
    >>> nnlib.any(nnlib.tensor([[0, 1], [0, 0]]), axis=1)
    tensor([ True, False], dtype=bool)
    """
    return xp.any(x, axis=axis, keepdims=keepdims)


@primitive
def all(xp, x, *, axis=None, keepdims=False):
    """Whether all values along an axis, several, or all are true (not zero).

    Examples
    --------
    >>> import nnlib
    >>> nnlib.all(nnlib.tensor([[1, 1], [0, 1]]), axis=1)
    tensor([ True, False], dtype=bool)
    """
    return xp.all(x, axis=axis, keepdims=keepdims)


@primitive
def isfinite(xp, x):
    """Neither NaN nor infinite, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.isfinite(nnlib.tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False], dtype=bool)
    """
    return xp.isfinite(x)


@primitive
def isnan(xp, x):
    """Whether a value is NaN, elementwise.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.isnan(nnlib.tensor([1.0, float("inf"), float("nan")]))
    tensor([False, False,  True], dtype=bool)
    """
    return xp.isnan(x)


@primitive
def argmax(xp, x, *, axis=None, keepdims=False):
    """Index of the largest value (the first of several).

    Examples
    --------
    >>> import nnlib
    >>> nnlib.argmax(nnlib.tensor([[1.0, 5.0], [7.0, 2.0]]), axis=1)
    tensor([1, 0], dtype=int64)
    """
    return xp.argmax(x, axis=axis, keepdims=keepdims)


@primitive
def argmin(xp, x, *, axis=None, keepdims=False):
    """Index of the smallest value (the first of several).

    Examples
    --------
    >>> import nnlib
    >>> nnlib.argmin(nnlib.tensor([[1.0, 5.0], [7.0, 2.0]]), axis=1)
    tensor([0, 1], dtype=int64)
    """
    return xp.argmin(x, axis=axis, keepdims=keepdims)


@primitive
def where(xp, condition, a, b):
    """``a`` where the condition holds, else ``b``, with broadcasting.

    Examples
    --------
    >>> import numpy as np
    >>> where(np.array([True, False]), 1.0, 2.0)
    array([1., 2.])
    """
    return xp.where(condition, a, b)


@where.vjp("a")
def _(g, condition):
    return where(condition, g, 0)


@where.vjp("b")
def _(g, condition):
    return where(condition, 0, g)


@primitive
def clip(xp, x, min=None, max=None):
    """Limit to [min, max], numbers or arrays; x has the gradient inside and at the limits.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.clip(nnlib.tensor([-2.0, 0.5, 2.0]), min=0, max=1)
    tensor([0. , 0.5, 1. ])
    """
    return xp.clip(x, min, max)


@clip.vjp("x")
def _(g, x, min, max):
    if min is not None:
        g = where(x < min, 0, g)
    if max is not None:
        g = where(x > max, 0, g)
    return g


@clip.vjp("min")
def _(g, x, min, max):
    g = where(x < min, g, 0)
    return g if max is None else where(min > max, 0, g)


@clip.vjp("max")
def _(g, x, min, max):
    above = x > max
    if min is not None:
        above = logical_or(above, min > max)
    return where(above, g, 0)
