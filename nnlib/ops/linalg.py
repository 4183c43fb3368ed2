"""Products of matrices and vectors."""

import math

from nnlib.arguments import explained
from nnlib.errors import ShapeError, describe
from nnlib.ops.operation import Policy, primitive
from nnlib.ops.reduction import sum
from nnlib.ops.shaping import expand_dims, reshape, swapaxes

__all__ = ["dot", "matmul", "outer"]


@primitive(autocast=Policy(("a", "b"), result="half"))
def matmul(xp, a, b):
    """Matrix product ``a @ b`` of vectors, matrices and stacks of matrices, see ``numpy.matmul``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> matmul(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    try:
        return xp.matmul(a, b)
    except ValueError as error:
        raise ShapeError(
            "matmul: shapes must be (..., n, k) and (..., k, m), with leading axes that broadcast. "
            f"Received: {describe(a, b)}"
        ) from error


@matmul.vjp("a")
def _(g, b, a_shape):
    if b.ndim == 1:  # g (..., m), a (..., m, k) or (k,)
        return expand_dims(g, axis=-1) * b
    if len(a_shape) == 1:  # (..., n) · (..., k, n) → (..., k), which the engine sums
        return sum(expand_dims(g, axis=-2) * b, axis=-1)
    return matmul(g, swapaxes(b, axis1=-1, axis2=-2))


@matmul.vjp("b")
def _(g, a, b_shape):
    if a.ndim == 1:  # g (..., n), b (..., k, n) or (k,)
        return g * a if len(b_shape) == 1 else expand_dims(a, axis=-1) * expand_dims(g, axis=-2)
    if len(b_shape) == 1:  # (..., m, k) · (..., m)
        return sum(a * expand_dims(g, axis=-1), axis=-2)
    if len(b_shape) == 2:  # (..., m, k), (..., m, n): one GEMM instead of a sum of many
        rows = math.prod(a.shape[:-1])
        a, g = (reshape(x, shape=(rows, x.shape[-1])) for x in (a, g))
    return matmul(swapaxes(a, axis1=-1, axis2=-2), g)


@explained
def outer(a, b):
    """Outer product of two vectors: (m,), (n,) → (m, n); other shapes are flattened.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.outer(nnlib.tensor([1.0, 2.0]), nnlib.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return reshape(a, shape=(-1, 1)) * reshape(b, shape=(1, -1))


@explained
def dot(a, b):
    """Inner product of vectors, product of matrices; for stacks of matrices see `matmul`.

    Raises
    ------
    ShapeError
        If an array has more than two axes.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.dot(nnlib.tensor([1.0, 2.0]), nnlib.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if a.ndim > 2 or b.ndim > 2:
        raise ShapeError(f"dot takes vectors and matrices. Received: {describe(a, b)}. Use matmul")
    return matmul(a, b)
