"""Operations that change the shape or the order of values."""

import inspect
import math
import operator

from nnlib.errors import ShapeError
from nnlib.ops.operation import Primitive, primitive

__all__ = [
    "astype",
    "broadcast_to",
    "concatenate",
    "copy",
    "expand_dims",
    "flip",
    "moveaxis",
    "pad",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
]


@primitive
def reshape(xp, x, *, shape):
    """The same values, row by row, in another shape; one size may be −1.

    Examples
    --------
    >>> import numpy as np
    >>> reshape(np.arange(4), shape=(2, -1))
    array([[0, 1],
           [2, 3]])
    """
    return xp.reshape(x, shape)


@reshape.vjp("x")
def _(g, x_shape):
    return reshape(g, shape=x_shape)


@primitive
def expand_dims(xp, x, *, axis):
    """Insert axes of size 1.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.expand_dims(nnlib.ones(2, 3), axis=0).shape
    (1, 2, 3)
    """
    return xp.expand_dims(x, axis)


@expand_dims.vjp("x")
def _(g, x_shape):
    return reshape(g, shape=x_shape)


@primitive
def squeeze(xp, x, *, axis=None):
    """Drop axes of size 1.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.squeeze(nnlib.ones(1, 3, 1)).shape
    (3,)
    """
    return xp.squeeze(x, axis=axis)


@squeeze.vjp("x")
def _(g, x_shape):
    return reshape(g, shape=x_shape)


@primitive
def transpose(xp, x, *, axes=None):
    """Permute the axes; without ``axes``, reverse them.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.transpose(nnlib.ones(2, 3, 4), axes=(1, 0, 2)).shape
    (3, 2, 4)
    """
    return xp.transpose(x, axes)


@transpose.vjp("x")
def _(g, axes):
    if axes is None:
        return transpose(g)
    axes = [axis % len(axes) for axis in axes]
    return transpose(g, axes=tuple(axes.index(i) for i in range(len(axes))))


@primitive
def swapaxes(xp, x, *, axis1, axis2):
    """Exchange two axes.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.swapaxes(nnlib.ones(2, 3, 4), 0, 2).shape
    (4, 3, 2)
    """
    return xp.swapaxes(x, axis1, axis2)


@swapaxes.vjp("x")
def _(g, axis1, axis2):
    return swapaxes(g, axis1=axis1, axis2=axis2)


@primitive
def moveaxis(xp, x, *, source, destination):
    """Move axes to new positions; the others keep their order.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.moveaxis(nnlib.ones(2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    return xp.moveaxis(x, source, destination)


@moveaxis.vjp("x")
def _(g, source, destination):
    return moveaxis(g, source=destination, destination=source)


@primitive
def broadcast_to(xp, x, *, shape):
    """Repeat to a larger shape by the rules of broadcasting.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.broadcast_to(nnlib.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return xp.broadcast_to(x, shape)


@broadcast_to.vjp("x")
def _(g):
    return g  # the engine sums it to the shape of x


@primitive
def concatenate(xp, *arrays, axis=0):
    """Join arrays along an axis (``None``: flattened); several arguments or one sequence.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.concatenate([nnlib.tensor([1.0, 2.0]), nnlib.tensor([3.0])])
    tensor([1., 2., 3.])
    """
    return xp.concatenate(arrays, axis=axis)


@concatenate.vjp("arrays")
def _(g, index, arrays_shape, axis):
    sizes = [math.prod(shape) if axis is None else shape[axis] for shape in arrays_shape]
    start = sum(sizes[:index])
    part = slice(start, start + sizes[index])
    if axis is None:
        return reshape(g[part], shape=arrays_shape[index])
    return g[(slice(None),) * (axis % g.ndim) + (part,)]


@primitive
def stack(xp, *arrays, axis=0):
    """Join arrays of one shape along a new axis; several arguments or one sequence.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.stack([nnlib.tensor([1.0, 2.0]), nnlib.tensor([3.0, 4.0])], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    return xp.stack(arrays, axis=axis)


@stack.vjp("arrays")
def _(g, index, axis):
    return g[(slice(None),) * (axis % g.ndim) + (index,)]


@primitive
def pad(xp, x, *, pad_width, value=0):
    """Pad with a constant; ``pad_width`` is one (before, after) pair for each axis.

    As in NumPy, a single pair or number applies to all axes and sides.

    Raises
    ------
    ShapeError
        If there is not one pair for each axis.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.pad(nnlib.tensor([1.0, 2.0]), pad_width=[(1, 2)])
    tensor([0., 1., 2., 0., 0.])
    >>> nnlib.pad(nnlib.tensor([[5.0]]), 1).shape
    (3, 3)
    """
    pairs = _pairs(pad_width, x.shape)
    return xp.pad(x, pairs, constant_values=value) if pairs else xp.copy(x)


@pad.vjp("x")
def _(g, x_shape, pad_width):
    return g[
        tuple(
            slice(before, before + size)
            for (before, _), size in zip(_pairs(pad_width, x_shape), x_shape, strict=True)
        )
    ]


def _pairs(pad_width, shape):
    """Convert all forms of ``numpy.pad``'s argument to one (before, after) pair for each axis."""
    pairs = _listed(pad_width)
    if all(not hasattr(n, "__len__") for n in pairs):  # (before, after) or (both,) for all axes
        pairs = [pairs]
    pairs = [_listed(pair) for pair in pairs]
    if len(pairs) == 1:
        pairs *= len(shape)
    fits = len(pairs) == len(shape) and all(1 <= len(pair) <= 2 for pair in pairs)
    if not fits or any(operator.index(n) < 0 for pair in pairs for n in pair):
        raise ShapeError(
            "pad needs one (before, after) pair of numbers ≥ 0 for each axis, or one for all. "
            f"Received: {pad_width} for an array of shape {shape}"
        )
    return [(pair[0], pair[-1]) for pair in pairs]


def _listed(value):
    return list(value) if hasattr(value, "__len__") else [value]


@primitive
def flip(xp, x, *, axis=None):
    """Reverse the order along axes.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.flip(nnlib.tensor([1.0, 2.0, 3.0]))
    tensor([3., 2., 1.])
    """
    return xp.flip(x, axis)


@flip.vjp("x")
def _(g, axis):
    return flip(g, axis=axis)


@primitive
def roll(xp, x, *, shift, axis=None):
    """Shift values cyclically along an axis; without an axis, the flattened values.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.roll(nnlib.tensor([1.0, 2.0, 3.0]), shift=1, axis=0)
    tensor([3., 1., 2.])
    """
    return xp.roll(x, shift, axis)


@roll.vjp("x")
def _(g, shift, axis):
    back = tuple(-s for s in shift) if hasattr(shift, "__iter__") else -shift
    return roll(g, shift=back, axis=axis)


@primitive
def copy(xp, x):
    """The same values in new memory.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.copy(nnlib.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return xp.copy(x)


@copy.vjp("x")
def _(g):
    return g


@primitive
def astype(xp, x, *, dtype):
    """Convert to another dtype; the gradient is converted back.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.astype(nnlib.tensor([1.5, 2.0]), dtype="int64")
    tensor([1, 2], dtype=int64)
    """
    return x.astype(dtype)


@astype.vjp("x")
def _(g):
    return g  # the engine restores the dtype


def converting(operation: Primitive) -> Primitive:
    """Add the option ``dtype=`` to a primitive, the dtype of computation and result (decorator)."""
    parameter = inspect.Parameter("dtype", inspect.Parameter.KEYWORD_ONLY, default=None)
    takes = operation.__signature__
    operation.__signature__ = takes.replace(parameters=[*takes.parameters.values(), parameter])
    operation.convert = astype
    return operation
