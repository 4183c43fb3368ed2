"""Elementwise arithmetic, from addition to power."""

import math

from nnlib.ops.comparison import where
from nnlib.ops.explog import log
from nnlib.ops.operation import TO_FLOAT32, primitive

__all__ = [
    "abs",
    "add",
    "divide",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "sign",
    "sqrt",
    "square",
    "subtract",
]


@primitive
def add(xp, a, b):
    """``a + b``, elementwise with broadcasting.

    Examples
    --------
    >>> import numpy as np
    >>> add(np.array([1, 2]), 10)
    array([11, 12])
    """
    return xp.add(a, b)


@add.vjp("a")
def _(g):
    return g


@add.vjp("b")
def _(g):
    return g


@primitive
def subtract(xp, a, b):
    """``a - b``, elementwise with broadcasting.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.subtract(nnlib.tensor([3.0, 4.0]), 1)
    tensor([2., 3.])
    """
    return xp.subtract(a, b)


@subtract.vjp("a")
def _(g):
    return g


@subtract.vjp("b")
def _(g):
    return -g


@primitive
def multiply(xp, a, b):
    """``a * b``, elementwise with broadcasting.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.multiply(nnlib.tensor([3.0, 4.0]), 2)
    tensor([6., 8.])
    """
    return xp.multiply(a, b)


@multiply.vjp("a")
def _(g, b):
    return g * b


@multiply.vjp("b")
def _(g, a):
    return g * a


@primitive
def divide(xp, a, b):
    """``a / b``, elementwise with broadcasting.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.divide(nnlib.tensor([3.0, 4.0]), 2)
    tensor([1.5, 2. ])
    """
    return xp.divide(a, b)


@divide.vjp("a")
def _(g, b):
    return g / b


@divide.vjp("b")
def _(g, b, y):
    return -g * y / b


@primitive
def negative(xp, x):
    """``-x``.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.negative(nnlib.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return xp.negative(x)


@negative.vjp("x")
def _(g):
    return -g


@primitive(autocast=TO_FLOAT32)
def power(xp, a, b):
    """``a ** b``, elementwise with broadcasting.

    The derivative by ``a`` is correct everywhere, including ``a = 0``; the derivative by ``b``
    needs ``a`` ≥ 0.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.power(nnlib.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    return xp.power(a, b)


@power.vjp("a")
def _(g, a, b):
    if not hasattr(b, "dtype"):
        return g * (b * power(a, b - 1)) if b else 0 * g
    return g * (b * power(a, where(b == 0, 1, b - 1)))  # 0 for b = 0, also where a = 0


@power.vjp("b")
def _(g, a, y):
    if not hasattr(a, "dtype"):
        return g * y * (math.log(a) if a > 0 else 0.0 if a == 0 else math.nan)
    return g * y * log(where((a == 0) * (y <= 1), 1, a))  # 0 ** b does not depend on a positive b


@primitive(autocast=TO_FLOAT32)
def square(xp, x):
    """``x * x``.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.square(nnlib.tensor([3.0, -4.0]))
    tensor([ 9., 16.])
    """
    return xp.square(x)


@square.vjp("x")
def _(g, x):
    return 2 * g * x


@primitive(floats=True)
def sqrt(xp, x):
    """Square root.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.sqrt(nnlib.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return xp.sqrt(x)


@sqrt.vjp("x")
def _(g, y):
    return g / (2 * y)


@primitive
def sign(xp, x):
    """Minus one, zero or one; the derivative is zero, so there is no rule.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.sign(nnlib.tensor([-3.0, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """
    return xp.sign(x)


@primitive
def abs(xp, x):
    """Absolute value, with derivative 0 at 0.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.abs(nnlib.tensor([-3.0, 2.0]))
    tensor([3., 2.])
    """
    return xp.abs(x)


@abs.vjp("x")
def _(g, x):
    return g * sign(x)


@primitive
def maximum(xp, a, b):
    """The larger of two, elementwise; equal values share the gradient, as in JAX and PyTorch.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.maximum(nnlib.tensor([1.0, 5.0]), 3)
    tensor([3., 5.])
    """
    return xp.maximum(a, b)


@maximum.vjp("a")
def _(g, a, b):
    return _to_winner(g, a > b, a == b)


@maximum.vjp("b")
def _(g, a, b):
    return _to_winner(g, b > a, a == b)


@primitive
def minimum(xp, a, b):
    """The smaller of two, elementwise; equal values share the gradient.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.minimum(nnlib.tensor([1.0, 5.0]), 3)
    tensor([1., 3.])
    """
    return xp.minimum(a, b)


@minimum.vjp("a")
def _(g, a, b):
    return _to_winner(g, a < b, a == b)


@minimum.vjp("b")
def _(g, a, b):
    return _to_winner(g, b < a, a == b)


def _to_winner(g, wins, ties):
    return where(wins, g, where(ties, 0.5 * g, 0))
