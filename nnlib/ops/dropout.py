"""Dropout, with a mask from a position in the random stream."""

from nnlib.errors import ShapeError, describe
from nnlib.ops.comparison import where
from nnlib.ops.operation import Integers, fused, primitive
from nnlib_backends.common.philox import kept

__all__ = ["dropout", "dropout_factor"]


@primitive(exact=False)
def dropout_factor(xp, key, *, shape, p, dtype):
    """Factor of `dropout`: 0 with probability p, else ``1 / (1 - p)``.

    Parameters
    ----------
    key : (2,) int64
        Seed and offset, from `nnlib.random.Generator.reserve`.
    shape : tuple of int
    p : float
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> dropout_factor(np.array([0, 0]), shape=(3,), p=0.5, dtype="float32")
    array([2., 0., 0.], dtype=float32)
    """
    count = 1
    for n in shape:
        count *= n
    factor = kept(xp, key, count, p).reshape(shape).astype(dtype)
    if p < 1:
        factor *= 1 / (1 - p)
    return factor


def _check(x, key, **_):
    if key.shape != (2,):
        raise ShapeError(f"dropout needs a key of two integers. Received: {describe(key)}")


@fused(
    samples=[
        ([(4, 5), Integers((2,), 9)], {"p": 0.5}),
        ([(3, 7, 3), Integers((2,), 2**40)], {"p": 0.1}),
        ([(33,), Integers((2,), 9)], {"p": 1.0}),
    ],
    check=_check,
)
def dropout(x, key, *, p):
    """0 with probability p, else ``x / (1 - p)`` (Srivastava et al., 2014).

    Parameters
    ----------
    x : array of any shape
    key : (2,) int64
        Seed and offset, from `nnlib.random.Generator.reserve`.
    p : float
        In [0, 1].

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> ops.dropout(nnlib.ones(3), nnlib.tensor([0, 0]), p=0.5)
    tensor([2., 0., 0.])
    """
    factor = dropout_factor(key, shape=x.shape, p=p, dtype=x.dtype)
    return where(factor > 0, x * factor, 0.0)  # 0 · x would be NaN for an infinite x
