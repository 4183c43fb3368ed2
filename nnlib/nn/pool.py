"""Pooling layers: the maximum or mean of each window, channel by channel."""

from __future__ import annotations

from typing import Any

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.errors import ShapeError
from nnlib.nn import functional as F
from nnlib.nn.function_layer import FunctionLayer
from nnlib.nn.functional.checks import Pair, TensorLike, floating, pair
from nnlib.nn.module import Module

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "GlobalAvgPool", "MaxPool2d"]


class Pool(FunctionLayer):
    """Takes images (N, H, W, C)."""

    def _set_option(self, name: str, value: Any) -> None:
        if name == "stride" and value is None:
            value = self.kernel_size  # type: ignore[attr-defined]
        setattr(self, name, pair(value, name, least=0 if name == "padding" else 1))


class MaxPool2d(Pool, function=F.max_pool2d):
    """Takes images (N, H, W, C).

    Examples
    --------
    >>> import nnlib
    >>> MaxPool2d(2)(nnlib.ones(1, 28, 28, 3)).shape
    (1, 14, 14, 3)
    """

    kernel_size: Pair
    stride: Pair | None = None
    padding: Pair = 0


class AvgPool2d(Pool, function=F.avg_pool2d):
    """Takes images (N, H, W, C).

    Examples
    --------
    >>> import nnlib
    >>> AvgPool2d(2)(nnlib.arange(16.0).reshape(1, 4, 4, 1)).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """

    kernel_size: Pair
    stride: Pair | None = None
    padding: Pair = 0


class AdaptiveAvgPool2d(Pool, function=F.adaptive_avg_pool2d):
    """Takes images (N, H, W, C) of any size.

    Examples
    --------
    >>> import nnlib
    >>> AdaptiveAvgPool2d(7)(nnlib.ones(1, 17, 10, 3)).shape
    (1, 7, 7, 3)
    """

    output_size: Pair


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
