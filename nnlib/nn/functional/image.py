"""Convolution and pooling of images (N, H, W, C) and sequences (N, T, C)."""

from __future__ import annotations

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor
from nnlib.errors import OptionError, ShapeError
from nnlib.nn.functional.checks import (
    Pair,
    TensorLike,
    as_tensor,
    check_choice,
    check_shape,
    floating,
    pair,
)
from nnlib.ops.linear import FUSED_ACTIVATIONS

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "conv1d", "conv2d", "max_pool2d"]

Sides = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)


@explained
def conv2d(
    x: TensorLike,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
) -> Tensor:
    """Two-dimensional convolution in the sense of deep learning (cross-correlation).

    Parameters
    ----------
    x : Tensor, (N, H, W, C)
    weight : Tensor, (O, kh, kw, C / groups)
    bias : Tensor, (O,), optional
    stride, dilation : int or (int, int)
        For height and width.
    padding : int, (int, int), "valid" or "same"
        Rows and columns of zeros on each side; "valid" adds none, "same" preserves the size
        (with stride 1; an odd row or column is added at the bottom or right, as in PyTorch).
    groups : int
        Number of independent groups of channels.
    activation : {None, "relu", "tanh", "sigmoid"}
        Applied to the result in the same kernel, which is faster than a separate operation.

    Returns
    -------
    Tensor, (N, H', W', O)
        H' = floor((H + 2 padding − dilation (kh − 1) − 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If the axes or channels do not fit, or the window is larger than the padded image.
    OptionError
        If an option is out of range, or ``activation`` is unknown.

    Examples
    --------
    >>> import nnlib
    >>> conv2d(nnlib.ones(1, 5, 5, 2), nnlib.ones(3, 3, 3, 2), padding="same").shape
    (1, 5, 5, 3)
    """
    x, weight = floating(x, "conv2d"), as_tensor(weight)
    strides, spread = pair(stride, "stride"), pair(dilation, "dilation")
    _check_filters(x, weight, groups)
    check_shape(bias, weight.shape[:1], "the bias of conv2d")
    window = _reach((weight.shape[1], weight.shape[2]), spread)
    rows, columns = sides(padding, window, strides)
    _check_window(x, window, (rows, columns))
    if rows[0] != rows[1] or columns[0] != columns[1]:
        x = ops.pad(x, pad_width=((0, 0), rows, columns, (0, 0)))
        rows = columns = (0, 0)
    if activation is not None:
        check_choice(activation, tuple(FUSED_ACTIVATIONS), "activation")
    return ops.conv2d(
        x,
        weight,
        bias,
        stride=strides,
        padding=(rows[0], columns[0]),
        dilation=spread,
        groups=groups,
        activation=activation,
    )


@explained
def conv1d(
    x: TensorLike,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """One-dimensional convolution, computed as `conv2d` of images of height 1.

    Parameters
    ----------
    x : Tensor, (N, T, C)
    weight : Tensor, (O, k, C / groups)
    bias : Tensor, (O,), optional
    stride, padding, dilation, groups
        As in `conv2d`, along time.

    Returns
    -------
    Tensor, (N, T', O)

    Raises
    ------
    ShapeError, OptionError
        See `conv2d`.

    Examples
    --------
    >>> import nnlib
    >>> conv1d(nnlib.ones(1, 5, 2), nnlib.ones(3, 2, 2)).shape
    (1, 4, 3)
    """
    x, weight = floating(x, "conv1d"), as_tensor(weight)
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            "conv1d needs x (N, T, C) and weight (O, k, C / groups). "
            f"Received: {x.shape} and {weight.shape}"
        )
    y = conv2d(
        ops.expand_dims(x, axis=1),
        ops.expand_dims(weight, axis=1),
        bias,
        stride=(1, stride),
        padding=padding if isinstance(padding, str) else (0, padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return ops.squeeze(y, axis=1)


@explained
def max_pool2d(
    x: TensorLike, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """Largest value of every window, channel by channel.

    Parameters
    ----------
    x : Tensor, (N, H, W, C)
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Distance between windows; the size of a window if not given.
    padding : int or (int, int)
        Rows and columns of −∞ on each side, at most half a window.

    Returns
    -------
    Tensor, (N, H', W', C)
        H' = floor((H + 2 padding − kernel_size) / stride) + 1.

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        If x has other axes, or the window is larger than the padded image.

    Examples
    --------
    >>> import nnlib
    >>> max_pool2d(nnlib.arange(16.0).reshape(1, 4, 4, 1), 2).flatten()
    tensor([ 5.,  7., 13., 15.])
    """
    x = floating(x, "max_pool2d")
    return ops.max_pool2d(x, **pooling_options(x, kernel_size, stride, padding))


@explained
def avg_pool2d(
    x: TensorLike, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """Mean of every window, channel by channel; padding counts as zeros.

    Parameters, result and errors are those of `max_pool2d`.

    Examples
    --------
    >>> import nnlib
    >>> avg_pool2d(nnlib.arange(16.0).reshape(1, 4, 4, 1), 2).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """
    x = floating(x, "avg_pool2d")
    return ops.avg_pool2d(x, **pooling_options(x, kernel_size, stride, padding))


@explained
def adaptive_avg_pool2d(x: TensorLike, output_size: Pair) -> Tensor:
    """Mean of H' × W' windows that are as equal in size as possible.

    Parameters
    ----------
    x : Tensor, (N, H, W, C)
    output_size : int or (int, int)
        H' and W'.  Window i covers the rows floor(i H / H') … ceil((i + 1) H / H') − 1.

    Returns
    -------
    Tensor, (N, H', W', C)

    Raises
    ------
    OptionError
        If ``output_size`` is not positive.
    ShapeError
        If x has other axes.

    Examples
    --------
    >>> import nnlib
    >>> adaptive_avg_pool2d(nnlib.arange(16.0).reshape(1, 4, 4, 1), 2).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """
    x = floating(x, "adaptive_avg_pool2d")
    _check_image(x, "adaptive_avg_pool2d")
    rows, columns = pair(output_size, "output_size")
    height, width = x.shape[1:3]
    if height % rows == 0 and width % columns == 0 and height and width:
        size = (height // rows, width // columns)
        return x if size == (1, 1) else ops.avg_pool2d(x, size=size, stride=size)
    return _adapt(_adapt(x, 1, rows), 2, columns)  # one axis at a time


def _adapt(x: Tensor, axis: int, count: int) -> Tensor:
    size = x.shape[axis]
    parts = []
    for i in range(count):
        window = slice(i * size // count, -(-(i + 1) * size // count))
        part = x[(slice(None),) * axis + (window,)]
        parts.append(ops.mean(part, axis=axis, keepdims=True))
    return ops.concatenate(*parts, axis=axis)


# Checks --------------------------------------------------------------------------------------


def sides(padding: Pair | str, window: tuple[int, int], stride: tuple[int, int]) -> Sides:
    """Return the zeros ((top, bottom), (left, right)) of a padding option.

    Examples
    --------
    >>> sides("same", (3, 4), (1, 1))
    ((1, 1), (1, 2))
    """
    if isinstance(padding, str):
        check_choice(padding, ("valid", "same"), "padding")
        if padding == "valid":
            return (0, 0), (0, 0)
        if stride != (1, 1):
            raise OptionError(f"padding='same' needs stride 1. Received: stride={stride}")
        rows, columns = ((w - 1) // 2 for w in window)
        return (rows, window[0] - 1 - rows), (columns, window[1] - 1 - columns)
    rows, columns = pair(padding, "padding", least=0)
    return (rows, rows), (columns, columns)


def pooling_options(
    x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair
) -> dict[str, tuple[int, int]]:
    """Return the options of a pooling operation as pairs."""
    size = pair(kernel_size, "kernel_size")
    edge = pair(padding, "padding", least=0)
    if any(2 * p > k for p, k in zip(edge, size, strict=True)):
        raise OptionError(
            f"padding must be at most half the window. Received: padding={edge}, kernel_size={size}"
        )
    _check_image(x, "pooling")
    _check_window(x, size, ((edge[0],) * 2, (edge[1],) * 2))
    strides = size if stride is None else pair(stride, "stride")
    return {"size": size, "stride": strides, "padding": edge}


def _check_image(x: Tensor, name: str) -> None:
    if x.ndim != 4:
        raise ShapeError(f"{name} needs images (N, H, W, C). Received: {x.dtype} {x.shape}")


def _check_filters(x: Tensor, weight: Tensor, groups: int) -> None:
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            "conv2d needs images (N, H, W, C) and filters (O, kh, kw, C / groups). "
            f"Received: {x.shape} and {weight.shape}"
        )
    if groups < 1:
        raise OptionError(f"groups must be at least 1. Received: {groups}")
    if weight.shape[0] % groups or x.shape[3] != weight.shape[3] * groups:
        hint = ""
        if x.shape[1] == weight.shape[3] * groups:
            hint = ". Channels come last: x.transpose(0, 2, 3, 1)"
        raise ShapeError(
            f"the images must have {weight.shape[3] * groups} channels in {groups} groups that "
            f"also divide the {weight.shape[0]} filters. Received: images {x.shape}, filters "
            f"{weight.shape}{hint}"
        )


def _reach(size: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def _check_window(x: Tensor, window: tuple[int, int], padding: Sides) -> None:
    image = (x.shape[1] + sum(padding[0]), x.shape[2] + sum(padding[1]))
    if window[0] > image[0] or window[1] > image[1]:
        raise ShapeError(
            f"the window {window} must fit into the padded image {image}. Received: {x.shape}"
        )
