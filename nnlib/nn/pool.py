"""Pooling layers: fewer pixels from more, channel by channel."""

from __future__ import annotations

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.errors import ShapeError
from nnlib.nn import functional as F
from nnlib.nn.functional.checks import Pair, TensorLike, floating, pair
from nnlib.nn.module import Module

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "GlobalAvgPool", "MaxPool2d"]


class _Pool(Module):
    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.padding = pair(padding, "padding", least=0)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """Largest value of every window of images (N, H, W, C).

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        From window to window; the window's own size if not given.
    padding : int or (int, int)
        Rows and columns of −∞ on each side, at most half a window.

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        When called, if the input is not (N, H, W, C), or smaller than the window.

    Examples
    --------
    >>> import nnlib
    >>> MaxPool2d(2)(nnlib.ones(1, 28, 28, 3)).shape
    (1, 14, 14, 3)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """(N, H, W, C) → (N, H', W', C)."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """Mean of every window of images (N, H, W, C); padding counts as zeros.

    Parameters and errors are those of `MaxPool2d`.

    Examples
    --------
    >>> import nnlib
    >>> AvgPool2d(2)(nnlib.arange(16.0).reshape(1, 4, 4, 1)).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """

    def forward(self, x: TensorLike) -> Tensor:
        """(N, H, W, C) → (N, H', W', C)."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Mean of as many windows as the output has places, whatever the size of the images.

    Parameters
    ----------
    output_size : int or (int, int)
        Height and width of the output.

    Raises
    ------
    OptionError
        If ``output_size`` is not positive.
    ShapeError
        When called, if the input is not (N, H, W, C).

    Examples
    --------
    >>> import nnlib
    >>> AdaptiveAvgPool2d(7)(nnlib.ones(1, 17, 10, 3)).shape
    (1, 7, 7, 3)
    """

    def __init__(self, output_size: Pair) -> None:
        super().__init__()
        self.output_size = pair(output_size, "output_size")

    def forward(self, x: TensorLike) -> Tensor:
        """(N, H, W, C) → (N, H', W', C)."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"output_size={self.output_size}"


class GlobalAvgPool(Module):
    """Mean over all positions, (N, ..., C) → (N, C) (Lin, Chen & Yan, 2013).

    Raises
    ------
    ShapeError
        When called, if the input has fewer than three axes.

    Examples
    --------
    >>> import nnlib
    >>> GlobalAvgPool()(nnlib.ones(2, 7, 7, 3)).shape
    (2, 3)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """(N, ..., C) → (N, C)."""
        x = floating(x, "GlobalAvgPool")
        if x.ndim < 3:
            raise ShapeError(f"the input must be (N, ..., C). Received: {x.dtype} {x.shape}")
        return ops.mean(x, axis=tuple(range(1, x.ndim - 1)))
