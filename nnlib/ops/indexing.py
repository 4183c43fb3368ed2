"""Gathering by index, and its adjoint, scattering."""

from nnlib.errors import ShapeError, describe
from nnlib.ops.operation import Integers, Policy, fused, primitive
from nnlib_backends.dtypes import scattered

__all__ = ["embedding", "getitem", "take_along_axis"]


@primitive
def getitem(xp, x, *, key):
    """``x[key]``: integers, slices, ``None``, ``...``, boolean and integer arrays.

    Raises
    ------
    IndexingError
        If an index is out of bounds (arrays on a GPU are not checked), or of an invalid type.

    Examples
    --------
    >>> import numpy as np
    >>> getitem(np.array([1, 2, 3]), key=slice(1, None))
    array([2, 3])
    """
    return x[key]


@getitem.vjp("x")
def _(g, x_shape, key):
    return add_at(g, key=key, shape=x_shape)


def _is_basic(key):
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or isinstance(part, int | slice | type(...)) for part in parts)


@primitive(exact=False)
def add_at(xp, values, *, key, shape):
    """Zeros of a shape with ``values`` added at ``key``; values with equal indices are summed."""
    if not _is_basic(key):
        return scattered(xp, shape, key, values)
    out = xp.zeros(shape, dtype=values.dtype)
    out[key] = values
    return out


@add_at.vjp("values")
def _(g, key):
    return getitem(g, key=key)


@primitive
def take_along_axis(xp, x, indices, *, axis=-1):
    """Pick one value per index along an axis, see ``numpy.take_along_axis``.

    Raises
    ------
    IndexingError
        If an index is out of bounds (not checked on a GPU).

    Examples
    --------
    >>> import nnlib
    >>> x = nnlib.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> nnlib.take_along_axis(x, nnlib.tensor([[1], [0]]), axis=1)
    tensor([[2.],
            [3.]])
    """
    return xp.take_along_axis(x, indices, axis=axis)


@take_along_axis.vjp("x")
def _(g, x_shape, indices, axis):
    return _put_along_axis(g, indices, axis=axis, shape=x_shape)


@primitive(exact=False)
def _put_along_axis(xp, values, indices, *, axis, shape):
    """Zeros with ``values`` added at ``indices`` along an axis."""
    grid = list(xp.meshgrid(*(xp.arange(n) for n in shape), indexing="ij", sparse=True))
    grid[axis] = indices
    return scattered(xp, shape, tuple(grid), values)


@_put_along_axis.vjp("values")
def _(g, indices, axis):
    return take_along_axis(g, indices, axis=axis)


def _check(weight, indices):
    if len(weight.shape) != 2 or (weight.shape[0] == 0 and indices.size > 0):
        raise ShapeError(
            f"embedding needs a table (V ≥ 1, D). Received: {describe(weight, indices)}"
        )


@fused(
    samples=[
        ([(5, 3), Integers((4,), 5)], {}),
        ([(7, 33), Integers((2, 9), 7)], {}),
        ([(3, 4), Integers((), 3)], {}),
    ],
    check=_check,
    autocast=Policy(result="half"),
)
def embedding(weight, indices):
    """Rows of a table: ``weight[indices]``.

    Parameters
    ----------
    weight : (V, D)
    indices : integers in [0, V), any shape

    Returns
    -------
    (..., D)

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.embedding(tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([1, 0]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    return weight[indices]
