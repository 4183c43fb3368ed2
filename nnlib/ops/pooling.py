"""Pooling over the windows of an image (N, H, W, C)."""

from nnlib.ops.comparison import argmax
from nnlib.ops.convolution import check_window, extract_patches
from nnlib.ops.indexing import take_along_axis
from nnlib.ops.operation import fused
from nnlib.ops.reduction import mean
from nnlib.ops.shaping import expand_dims, pad, reshape, squeeze

__all__ = ["avg_pool2d", "max_pool2d"]

_SAMPLES = [
    ([(2, 4, 6, 3)], {"size": (2, 2), "stride": (2, 2)}),
    ([(1, 7, 5, 2)], {"size": (3, 2), "stride": (2, 1)}),
    ([(1, 6, 6, 2)], {"size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
]


def _check(x, *, size, padding, **_):
    check_window(x, size, padding)


@fused(
    samples=_SAMPLES,
    check=_check,
    exact=True,
)
def max_pool2d(x, *, size, stride, padding=(0, 0)):
    """Largest value of every window, channel by channel.

    Parameters
    ----------
    x : (N, H, W, C)
    size, stride, padding : pairs of int

    Returns
    -------
    (N, H', W', C)
        Of equal values in a window the first one has the gradient, as in PyTorch.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> x = nnlib.arange(16.0).reshape(1, 4, 4, 1)
    >>> ops.max_pool2d(x, size=(2, 2), stride=(2, 2)).flatten()
    tensor([ 5.,  7., 13., 15.])
    """
    windows = extract_patches(_pad(x, padding, float("-inf")), size=size, stride=stride)
    n, rows, columns, kh, kw, channels = windows.shape
    values = reshape(windows, shape=(n, rows, columns, kh * kw, channels))
    winner = expand_dims(argmax(values, axis=3), axis=3)
    return squeeze(take_along_axis(values, winner, axis=3), axis=3)


@fused(samples=_SAMPLES, check=_check)
def avg_pool2d(x, *, size, stride, padding=(0, 0)):
    """Mean of every window, channel by channel; padding counts as zeros.

    Parameters and shapes are those of `max_pool2d`.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> x = nnlib.arange(16.0).reshape(1, 4, 4, 1)
    >>> ops.avg_pool2d(x, size=(2, 2), stride=(2, 2)).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """
    return mean(extract_patches(_pad(x, padding, 0), size=size, stride=stride), axis=(3, 4))


def _pad(x, padding, value):
    if padding == (0, 0):
        return x
    return pad(x, pad_width=((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)), value=value)
