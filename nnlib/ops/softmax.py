"""Softmax and its logarithm: probabilities along an axis."""

from nnlib.ops.explog import exp
from nnlib.ops.operation import TO_FLOAT32, primitive
from nnlib.ops.reduction import sum
from nnlib_backends.dtypes import log_of_total, total

__all__ = ["log_softmax", "softmax"]


@primitive(floats=True, autocast=TO_FLOAT32)
def softmax(xp, x, *, axis=-1):
    """``exp(x) / Σ exp(x)`` along an axis, without overflow.

    Examples
    --------
    >>> softmax([0.0, 0.0, -1000.0])
    tensor([0.5, 0.5, 0. ])
    """
    if x.size == 0:  # NumPy refuses the maximum of an empty array
        return x.copy()
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / total(xp, e, axis, keepdims=True)


@softmax.vjp("x")
def _(g, y, axis):
    return y * (g - sum(g * y, axis=axis, keepdims=True))


@primitive(floats=True, autocast=TO_FLOAT32)
def log_softmax(xp, x, *, axis=-1):
    """Logarithm of `softmax`, finite for all finite values.

    Examples
    --------
    >>> log_softmax([0.0, 0.0]).numpy().round(4)
    array([-0.6931, -0.6931], dtype=float32)
    """
    if x.size == 0:
        return x.copy()
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - log_of_total(xp, xp.exp(shifted), axis)


@log_softmax.vjp("x")
def _(g, y, axis):
    return g - exp(y) * sum(g, axis=axis, keepdims=True)
