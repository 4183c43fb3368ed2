"""Normalisation layers; channels and features are on the last axis."""

from __future__ import annotations

from nnlib.autograd import Tensor, no_grad, ones, tensor, zeros
from nnlib.errors import DTypeError, OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.checks import TensorLike, check_numbers, floating
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "RMSNorm"]


class _Norm(Module):
    """A scale, initially 1, and a shift, initially 0, for each feature."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, shape: tuple[int, ...], weight: bool, bias: bool, eps: float) -> None:
        super().__init__()
        check_numbers(eps=eps)
        if eps < 0:
            raise OptionError(f"eps must not be negative. Received: {eps}")
        self.eps = eps
        self.weight = Parameter(init.ones_(init.empty(*shape))) if weight else None
        self.bias = Parameter(init.zeros_(init.empty(*shape))) if bias else None

    def reset_parameters(self) -> None:
        """Set scale and shift to their initial values."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Norm):
    """Normalise each sample over its last axes (Ba, Kiros & Hinton, 2016).

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether to scale and shift.
    bias : bool
        Whether to shift.

    Raises
    ------
    OptionError
        If ``eps`` is negative.
    ShapeError
        When called, if the last axes are not ``normalized_shape``.

    Examples
    --------
    >>> LayerNorm(2, eps=0.0)([[1.0, 3.0]])
    tensor([[-1.,  1.]], requires_grad=True)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        shape = _shape(normalized_shape)
        super().__init__(shape, elementwise_affine, elementwise_affine and bias, eps)
        self.normalized_shape = shape

    def forward(self, x: TensorLike) -> Tensor:
        """(..., *normalized_shape) → the same shape."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.weight is not None}, bias={self.bias is not None}"
        )


class RMSNorm(_Norm):
    """Divide each sample by the root mean square of its last axes (Zhang & Sennrich, 2019).

    Parameters and errors are those of `LayerNorm`; there is no shift.

    Examples
    --------
    >>> RMSNorm(2)([[3.0, -3.0]]).detach().numpy().round(4)
    array([[ 1., -1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-6,
        elementwise_affine: bool = True,
    ) -> None:
        shape = _shape(normalized_shape)
        super().__init__(shape, elementwise_affine, False, eps)
        self.normalized_shape = shape

    def forward(self, x: TensorLike) -> Tensor:
        """(..., *normalized_shape) → the same shape."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"
        )


class GroupNorm(_Norm):
    """Normalise each sample over groups of channels and all positions (Wu & He, 2018).

    Parameters
    ----------
    num_groups, num_channels : int
        ``num_groups`` must divide ``num_channels``.
    eps : float
        Added to the variance.
    affine : bool
        Whether to scale and shift.

    Raises
    ------
    OptionError
        If the groups do not divide the channels, or ``eps`` is negative.
    ShapeError
        When called, unless the input is (N, ..., num_channels).

    Examples
    --------
    >>> layer = GroupNorm(2, 4, eps=0.0)
    >>> layer([[1.0, 3.0, 10.0, 30.0]]).detach().numpy().round(4)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        check_numbers(num_groups=num_groups, num_channels=num_channels)
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise OptionError(
                "num_groups must divide num_channels. "
                f"Received: {num_groups} groups, {num_channels} channels"
            )
        super().__init__((num_channels,), affine, affine, eps)
        self.num_groups, self.num_channels = num_groups, num_channels

    def forward(self, x: TensorLike) -> Tensor:
        """(N, ..., num_channels) → the same shape."""
        x = floating(x, "GroupNorm")
        _check_channels(x, self.num_channels, "N, ..., C", (2, 3, 4, 5))
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, "
            f"affine={self.weight is not None}"
        )


class _BatchNorm(_Norm):
    """Batch normalisation of x (N, ..., C)."""

    axes = "N, ..., C"
    ndims: tuple[int, ...] = ()
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__((num_features,), affine, affine, eps)
        if momentum is not None and not 0 <= momentum <= 1:
            raise OptionError(f"momentum must be in [0, 1], or None. Received: {momentum}")
        self.num_features, self.momentum = num_features, momentum
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features) if tracked else None)
        self.register_buffer("running_var", ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", tensor(0, dtype="int64") if tracked else None)

    def reset_running_stats(self) -> None:
        """Reset the running statistics: mean 0, variance 1."""
        if self.running_mean is not None and self.running_var is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def forward(self, x: TensorLike) -> Tensor:
        """(N, ..., num_features) → the same shape."""
        x = floating(x, type(self).__name__)
        _check_channels(x, self.num_features, self.axes, self.ndims)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=self._share_of_batch(),
            eps=self.eps,
        )

    def _share_of_batch(self) -> float | Tensor:
        """Weight of this batch in the update of the running values."""
        if not self.training or self.num_batches_tracked is None:
            return 0.0
        with no_grad():
            self.num_batches_tracked += 1
        if self.momentum is not None:
            return self.momentum
        return 1.0 / self.num_batches_tracked.astype("float32")  # the mean of all batches

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.weight is not None}, "
            f"track_running_stats={self.running_mean is not None}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalise each feature over the batch (Ioffe & Szegedy, 2015): x (N, C) or (N, T, C).

    Training uses the mean and variance of the batch and updates running ones; evaluation uses the
    running ones.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of a batch in the running values; None for the mean of all batches.
    affine : bool
        Whether to scale and shift.
    track_running_stats : bool
        If false, evaluation uses the statistics of the batch, too.

    Attributes
    ----------
    weight, bias : Parameter, (num_features,), or None
    running_mean, running_var : Tensor, (num_features,), or None
        Buffers.  The running variance is unbiased; the normalisation in training uses the biased
        one, as in PyTorch.
    num_batches_tracked : Tensor, (), int64, or None

    Raises
    ------
    OptionError
        If ``eps`` is negative or ``momentum`` outside [0, 1].
    ShapeError
        When called, if the input has other axes, or in training only one value per feature.

    Examples
    --------
    >>> layer = BatchNorm1d(1, eps=0.0)
    >>> layer([[1.0], [3.0]]).detach()
    tensor([[-1.],
            [ 1.]])
    >>> layer.running_mean, layer.running_var
    (tensor([0.2]), tensor([1.1]))
    """

    axes, ndims = "N, C) or (N, T, C", (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalise each channel over the batch and all pixels: x (N, H, W, C).

    Parameters, attributes and errors are those of `BatchNorm1d`.

    Examples
    --------
    >>> import nnlib
    >>> layer = BatchNorm2d(3)
    >>> layer(nnlib.ones(2, 4, 4, 3)).shape
    (2, 4, 4, 3)
    >>> layer.running_mean
    tensor([0.1, 0.1, 0.1])
    """

    axes, ndims = "N, H, W, C", (4,)


def _shape(normalized_shape: int | tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(normalized_shape, int):
        return (normalized_shape,)
    if not hasattr(normalized_shape, "__iter__"):
        raise DTypeError(f"normalized_shape must be integers. Received: {normalized_shape!r}")
    return tuple(normalized_shape)


def _check_channels(x: Tensor, channels: int, axes: str, ndims: tuple[int, ...]) -> None:
    if x.ndim not in ndims or x.shape[-1] != channels:
        raise ShapeError(
            f"the input must be ({axes}) with C = {channels}. Received: {x.dtype} {x.shape}"
        )
