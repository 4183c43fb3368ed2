"""Convolution layers."""

from __future__ import annotations

from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.checks import Pair, TensorLike, check_choice, floating, pair
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d"]


class _Conv(Module):
    """Base class of convolutions: filters (out, *window, in / groups) and their options."""

    bias: Parameter | None

    def __init__(
        self, in_channels: int, out_channels: int, window: tuple[int, ...], groups: int, bias: bool
    ) -> None:
        super().__init__()
        smallest = min(in_channels, out_channels, groups)
        if smallest < 1 or in_channels % groups or out_channels % groups:
            raise OptionError(
                "in_channels, out_channels and groups must be positive, and groups must divide "
                f"both channels. Received: {in_channels}, {out_channels}, groups={groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.weight = Parameter(init.empty(out_channels, *window, in_channels // groups))
        self.bias = Parameter(init.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = init.fans(self.weight)[0] ** -0.5
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def _checked(self, x: TensorLike, axes: str) -> Tensor:
        x = floating(x, type(self).__name__)
        wanted = axes.count(",") + 1
        if x.ndim != wanted or x.shape[-1] != self.in_channels:
            hint = ""
            if x.ndim == wanted and x.shape[1] == self.in_channels:
                order = (0, *range(2, wanted), 1)
                hint = f". Channels come last: x.transpose{order}"
            raise ShapeError(
                f"the input must be ({axes}) with C = in_channels = {self.in_channels}. "
                f"Received: {x.dtype} {x.shape}{hint}"
            )
        return x

    def _options(self, stride: Any, padding: Any, dilation: Any) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.weight.shape[1:-1]}"
        for name, value in {"stride": stride, "padding": padding, "dilation": dilation}.items():
            text += f", {name}={value!r}"
        return f"{text}, groups={self.groups}, bias={self.bias is not None}"


class Conv2d(_Conv):
    """Two-dimensional convolution of images (N, H, W, C).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
        Height and width of the filters.
    stride, dilation : int or (int, int)
    padding : int, (int, int), "valid" or "same"
        Rows and columns of zeros on each side.
    groups : int
        Number of independent groups of channels; must divide both numbers of channels.
    bias : bool

    Attributes
    ----------
    weight : Parameter, (out_channels, kh, kw, in_channels / groups)
        Initially uniform in ± 1/√fan_in, as in PyTorch.
    bias : Parameter, (out_channels,), or None

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        When called, if the input is not (N, H, W, in_channels), or smaller than the filters.

    Examples
    --------
    >>> import nnlib
    >>> Conv2d(3, 8, kernel_size=3, padding=1)(nnlib.ones(2, 32, 32, 3)).shape
    (2, 32, 32, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        size = pair(kernel_size, "kernel_size")
        super().__init__(in_channels, out_channels, size, groups, bias)
        self.kernel_size = size
        self.stride, self.dilation = pair(stride, "stride"), pair(dilation, "dilation")
        self.padding = _padding(padding, self.stride)

    def forward(self, x: TensorLike, *, activation: str | None = None) -> Tensor:
        """(N, H, W, in_channels) → (N, H', W', out_channels); activation: see `F.conv2d`."""
        x = self._checked(x, "N, H, W, C")
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            activation=activation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the options."""
        return self._options(self.stride, self.padding, self.dilation)


class Conv1d(_Conv):
    """One-dimensional convolution of sequences (N, T, C).

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation : int
    padding : int, "valid" or "same"
    groups : int
    bias : bool
        All as in `Conv2d`, along time.

    Attributes
    ----------
    weight : Parameter, (out_channels, k, in_channels / groups)
    bias : Parameter, (out_channels,), or None

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        When called, if the input is not (N, T, in_channels), or shorter than the filters.

    Examples
    --------
    >>> import nnlib
    >>> Conv1d(4, 8, kernel_size=3)(nnlib.ones(2, 10, 4)).shape
    (2, 8, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        pair(kernel_size, "kernel_size")
        super().__init__(in_channels, out_channels, (kernel_size,), groups, bias)
        self.kernel_size = kernel_size
        self.stride, self.dilation = pair(stride, "stride")[0], pair(dilation, "dilation")[0]
        _padding(padding, (1, stride))
        self.padding = padding

    def forward(self, x: TensorLike) -> Tensor:
        """(N, T, in_channels) → (N, T', out_channels)."""
        x = self._checked(x, "N, T, C")
        return F.conv1d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return self._options(self.stride, self.padding, self.dilation)


def _padding(padding: Pair | str, stride: tuple[int, int]) -> tuple[int, int] | str:
    if not isinstance(padding, str):
        return pair(padding, "padding", least=0)
    check_choice(padding, ("valid", "same"), "padding")
    if padding == "same" and stride != (1, 1):
        raise OptionError(f"padding='same' needs stride 1. Received: stride={stride}")
    return padding
