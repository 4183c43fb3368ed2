"""Reductions over axes: sums, means, extrema and others."""

import math

from nnlib.arguments import explained
from nnlib.ops.arithmetic import sqrt
from nnlib.ops.comparison import isfinite, where
from nnlib.ops.explog import exp
from nnlib.ops.indexing import getitem
from nnlib.ops.operation import TO_FLOAT32, in_float32, primitive
from nnlib.ops.shaping import (
    astype,
    broadcast_to,
    converting,
    expand_dims,
    flip,
    pad,
    reshape,
    transpose,
)
from nnlib_backends.dtypes import average, is_half, total

__all__ = ["cumsum", "logsumexp", "max", "mean", "min", "prod", "std", "sum", "var"]


def count(shape, axis):
    """Return the number of values that a reduction combines into each result.

    Examples
    --------
    >>> count((2, 3, 4), (0, 2))
    8
    """
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    product = 1
    for i in axes:
        product *= shape[i]
    return product


def spread(g, shape, axis, keepdims):
    """Repeat a reduced array over the axes that the reduction removed."""
    if axis is not None and not keepdims and shape:  # a 0-d array may be reduced, too
        axes = axis if isinstance(axis, tuple) else (axis,)
        g = expand_dims(g, axis=tuple(i % len(shape) for i in axes))
    return broadcast_to(g, shape=shape)


@converting
@primitive(autocast=TO_FLOAT32)
def sum(xp, x, *, axis=None, keepdims=False):
    """Sum over an axis, several, or all.

    Examples
    --------
    >>> import numpy as np
    >>> sum(np.ones((2, 3)), axis=0)
    array([2., 2., 2.])
    """
    return total(xp, x, axis, keepdims)


@sum.vjp("x")
def _(g, x_shape, axis, keepdims):
    return spread(g, x_shape, axis, keepdims)


def unbroadcast(g, shape):
    """Undo broadcasting: sum ``g`` to ``shape``.

    Examples
    --------
    >>> import numpy as np
    >>> unbroadcast(np.ones((2, 3)), (3,))
    array([2., 2., 2.])
    """
    if g.ndim > len(shape):
        g = sum(g, axis=tuple(range(g.ndim - len(shape))))
    axes = tuple(
        i for i, (have, want) in enumerate(zip(g.shape, shape, strict=True)) if have != want
    )
    return sum(g, axis=axes, keepdims=True) if axes else g


@converting
@primitive(autocast=TO_FLOAT32)
def mean(xp, x, *, axis=None, keepdims=False):
    """Arithmetic mean over an axis, several, or all.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.mean(nnlib.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    tensor([2., 4.])
    """
    return average(xp, x, axis, keepdims)


@mean.vjp("x")
def _(g, x_shape, axis, keepdims):
    return spread(g / (count(x_shape, axis) or 1), x_shape, axis, keepdims)


@converting
@primitive(autocast=TO_FLOAT32)
def prod(xp, x, *, axis=None, keepdims=False):
    """Product over an axis, several, or all.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.prod(nnlib.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=1)
    tensor([ 2., 18.])
    """
    if x.dtype != xp.float32:
        return xp.prod(x, axis=axis, keepdims=keepdims)
    return xp.prod(x, axis=axis, dtype=xp.float64, keepdims=keepdims).astype(xp.float32)


@prod.vjp("x")
def _(g, x, x_shape, axis, keepdims):
    ndim = len(x_shape)
    if ndim == 0:
        return g
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = [i % ndim for i in axes]
    order = [*(i for i in range(ndim) if i not in reduced), *reduced]
    moved = transpose(x, axes=tuple(order))
    kept = moved.shape[: ndim - len(reduced)]
    others = product_of_others(reshape(moved, shape=(*kept, count(x_shape, tuple(reduced)))))
    gx = spread(g, x_shape, axis, keepdims)
    if others is None:
        return gx
    back = tuple(order.index(i) for i in range(ndim))
    return gx * transpose(reshape(others, shape=moved.shape), axes=back)


def product_of_others(x):
    """Return for each value of the last axis the product of all others; None if there are none.

    Without a division: the result and its derivatives are correct where values are 0.

    Examples
    --------
    >>> import numpy as np
    >>> product_of_others(np.array([2.0, 0.0, 5.0]))
    array([ 0., 10.,  0.])
    """
    *kept, n = x.shape
    if n < 2:
        return None
    widths = ((0, 0),) * len(kept) + ((0, n % 2),)
    pairs = reshape(pad(x, pad_width=widths, value=1), shape=(*kept, (n + 1) // 2, 2))
    others = flip(pairs, axis=-1)
    outside = product_of_others(getitem(pairs, key=(..., 0)) * getitem(pairs, key=(..., 1)))
    if outside is not None:
        others = others * expand_dims(outside, axis=-1)
    return getitem(reshape(others, shape=(*kept, n + n % 2)), key=(..., slice(n)))


@primitive(exact=False)
def max(xp, x, *, axis=None, keepdims=False):
    """Largest value; equal values share the gradient.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.max(nnlib.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    tensor([3., 6.])
    """
    return xp.max(x, axis=axis, keepdims=keepdims)


@primitive(exact=False)
def min(xp, x, *, axis=None, keepdims=False):
    """Smallest value; equal values share the gradient.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.min(nnlib.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    tensor([1., 2.])
    """
    return xp.min(x, axis=axis, keepdims=keepdims)


@max.vjp("x")
@min.vjp("x")
def _(g, x, y, x_shape, axis, keepdims):
    hit = x == spread(y, x_shape, axis, keepdims)
    ties = astype(sum(hit, axis=axis, keepdims=keepdims), dtype=g.dtype)
    return where(hit, spread(g / ties, x_shape, axis, keepdims), 0)


@primitive(floats=True, autocast=TO_FLOAT32)
def logsumexp(xp, x, *, axis=None, keepdims=False):
    """``log(sum(exp(x)))`` without overflow.

    Examples
    --------
    >>> import nnlib
    >>> print(f"{nnlib.logsumexp(nnlib.tensor([1000.0, 1000.0])):.2f}")
    1000.69
    """
    if x.size == 0:  # NumPy refuses the maximum of an empty array
        return xp.sum(x, axis=axis, keepdims=keepdims) - xp.inf
    peak = xp.max(x, axis=axis, keepdims=True)
    shift = xp.where(xp.isfinite(peak), peak, 0)
    share = total(xp, xp.exp(x - shift), axis, keepdims=True)
    nothing = share == 0  # every value is −inf
    y = xp.where(nothing, -xp.inf, xp.log(xp.where(nothing, 1, share)) + shift)
    return y if keepdims else xp.squeeze(y, axis=axis)


@logsumexp.vjp("x")
def _(g, x, x_shape, axis, keepdims):
    if 0 in x_shape:
        return spread(g, x_shape, axis, keepdims)
    # not exp(x − y), for the rounding error of a large y may be above 1
    peak = max(x, axis=axis, keepdims=True)
    shares = exp(x - where(isfinite(peak), peak, 0))
    whole = sum(shares, axis=axis, keepdims=True)
    shares = shares / where(whole == 0, 1, whole)  # every value is −inf
    return spread(g, x_shape, axis, keepdims) * shares


@converting
@primitive(autocast=TO_FLOAT32)
def cumsum(xp, x, *, axis=None):
    """Running sum along an axis, or of the flattened values.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.cumsum(nnlib.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """
    if x.dtype != xp.float32:
        return xp.cumsum(x, axis=axis)
    return xp.cumsum(x, axis=axis, dtype=xp.float64).astype(xp.float32)


@cumsum.vjp("x")
def _(g, x_shape, axis):
    return reshape(flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis), shape=x_shape)


@explained
def var(x, axis=None, keepdims=False, ddof=0):
    """Variance, the mean squared deviation from the mean; two passes, so it is never negative.

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int, optional
        Axes to reduce; all if not given.
    keepdims : bool
        Keep the reduced axes with size 1.
    ddof : int
        The divisor is the number of values minus this: 1 gives the unbiased estimate.  With a
        divisor of 0 or less the result is NaN.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.var(nnlib.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    tensor([1., 4.])
    """
    if is_half(x):  # the squares would overflow
        return in_float32(var, [x], {"axis": axis, "keepdims": keepdims, "ddof": ddof})
    centred = x - mean(x, axis=axis, keepdims=True)
    squares = sum(centred * centred, axis=axis, keepdims=keepdims)
    divisor = count(x.shape, axis) - ddof
    return squares / divisor if divisor > 0 else squares * math.nan


@explained
def std(x, axis=None, keepdims=False, ddof=0):
    """Standard deviation, the square root of `var`; its derivative is 0 where values are equal.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.std(nnlib.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    tensor([1., 2.])
    """
    if is_half(x):
        return in_float32(std, [x], {"axis": axis, "keepdims": keepdims, "ddof": ddof})
    variance = var(x, axis, keepdims, ddof)
    # at 0 the derivative of the root is infinite, but that of the variance is 0
    equal = variance == 0
    return where(equal, variance, sqrt(where(equal, 1, variance)))
