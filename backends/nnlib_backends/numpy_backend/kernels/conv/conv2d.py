"""The kernel pair of ``conv2d``: choice of the algorithm, forward and backward pass."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import GradsOut, KernelPair
from nnlib_backends.config import WINOGRAD
from nnlib_backends.numpy_backend.codegen.activation import activate_all
from nnlib_backends.numpy_backend.codegen.gemm import PANEL
from nnlib_backends.numpy_backend.codegen.host import grad_memory
from nnlib_backends.numpy_backend.codegen.partial_sums import add_parts, through_activation
from nnlib_backends.numpy_backend.codegen.simd import LANES
from nnlib_backends.numpy_backend.kernels.conv import (
    axes,
    direct,
    direct_weight_grad,
    few_channels,
    small_images,
    winograd,
    winograd_weight_grad,
)
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, thread_count

__all__ = ["KERNELS", "prefers_winograd"]

Pair = tuple[int, int]


def prefers_winograd(
    result: tuple[int, ...], weight: tuple[int, ...], stride: Pair, dilation: Pair, groups: int
) -> bool:
    """Return whether Winograd's algorithm is faster: with at least 1.6 times fewer multiplications.

    They are 4 times fewer where tiles and panels are full: where 4 divides the image's size and a
    panel's size divides the channels.

    Parameters
    ----------
    result, weight : tuple of int
        Shapes (N, H', W', O) and (O, kh, kw, C / groups).
    stride, dilation, groups
        See ``conv2d``.
    """
    # Measured on two Zen 4 cores, all three passes; ratio of multiplications → speedup:
    #   1.0 → 0.8 (4 × 32², 16 → 16), 1.8 → 1.0 to 1.25 (17², 40 → 50, 1 to 8 images),
    #   2.25 → 1.1 to 1.6 (4 × 6², 64 → 64 and 128 → 128), 2.5 → 1.3 (28², 20 → 64),
    #   3.1 → 1.8 to 2.25 (7² and 14², 512 → 512), 4.0 → 1.4 to 1.9 (28², 32 → 32, 1 and 4 images).
    if weight[1:3] != (3, 3) or groups != 1 or {*stride, *dilation} != {1}:
        return False
    down, across = winograd.tiles_of(result)
    inputs, outputs = (winograd.panels(n) * PANEL for n in (weight[3], weight[0]))
    transformed = 36 * down * across * inputs * outputs
    straight = 9 * result[1] * result[2] * weight[3] * -(-weight[0] // LANES) * LANES
    return straight >= 1.6 * transformed and WINOGRAD.get() != "0"


def _as_pixels(
    x: Array, weight: Array, y: Array, stride: Pair, padding: Pair, groups: int
) -> tuple[Array, Array, Array]:
    """Reshape a convolution that is a plain GEMM to one of single pixels, in rows of good length.

    This applies to 1×1 filters, and to filters as large as the image.
    """
    n, height, width, channels = x.shape
    filters, kh, kw, _ = weight.shape
    if padding != (0, 0) or groups != 1:
        return x, weight, y
    if (kh, kw) == (height, width):
        pixels, length = n, height * width * channels
    elif (kh, kw) == (1, 1) and stride == (1, 1):
        pixels, length = n * height * width, channels
    else:
        return x, weight, y
    most = max(1, min(direct.PIXELS, pixels // thread_count()))
    row = max(size for size in range(1, most + 1) if pixels % size == 0)
    return (
        x.reshape(1, pixels // row, row, length),
        weight.reshape(filters, 1, 1, length),
        y.reshape(1, pixels // row, row, filters),
    )


def _way(y: Array, along: tuple[axes.Axis, axes.Axis]) -> Any:
    """Return the module of the algorithm, other than Winograd's."""
    small = small_images.is_worthwhile(y.shape[0], y.shape[3], along)
    return small_images if small and along[0].taps * along[1].taps else direct


def _image_gradient(
    g: Array, weight: Array, dx: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> None:
    """Write the gradient by the image into ``dx``, by an algorithm other than Winograd's."""
    sizes = zip(dx.shape[1:3], weight.shape[1:3], stride, padding, dilation, strict=True)
    all_rows, all_columns = (list(axes.phases(*values)) for values in sizes)
    for rows in all_rows:
        if few_channels.is_worthwhile(weight.shape, stride[1], dilation[1], groups):
            few_channels.spread(g, weight, dx, rows, padding[1])
            continue
        for columns in all_columns:
            way = _way(dx, (rows, columns))
            way.convolve(g, weight, None, dx, (rows, columns), groups, turned=True)


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
) -> tuple[Array, Array | None]:
    """(N, H, W, C) → (N, H', W', O)."""
    x, weight = dense(x), dense(weight)
    bias = None if bias is None else dense(bias)
    along = axes.axes_forward(x, weight, stride, padding, dilation)
    y = empty((x.shape[0], along[0].positions, along[1].positions, weight.shape[0]))
    if y.size == 0:
        return y, y if activation else None
    if prefers_winograd(y.shape, weight.shape, stride, dilation, groups):
        winograd.convolve(x, weight, bias, y, padding, rectify=activation == "relu")
        if activation not in (None, "relu"):
            activate_all(y, activation)
    else:
        image, filters, result = _as_pixels(x, weight, y, stride, padding, groups)
        if result is not y:
            along = axes.axes_forward(image, filters, (1, 1), (0, 0), (1, 1))
        way = _way(result, along)
        way.convolve(image, filters, bias, result, along, groups, activation)
    return y, y if activation else None


def backward(
    g: Array,
    saved: Array | None,
    grads_out: GradsOut,
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients by image, filters and bias."""
    x, weight = dense(x), dense(weight)
    dx, dw = grad_memory(grads_out[0], x.shape), grad_memory(grads_out[1], weight.shape)
    db = grad_memory(grads_out[2] if len(grads_out) > 2 else None, (weight.shape[0],))
    if g.size == 0:
        for zeros in (dx, dw, db):
            if zeros is not None:
                launch(add_parts, None, zeros, 0, items=zeros.size)
        return dx, dw, db
    g = through_activation(dense(g), saved, activation, db)
    fast = prefers_winograd(g.shape, weight.shape, stride, dilation, groups)
    if fast:
        if dx is not None:
            winograd.convolve(g, weight, None, dx, (2 - padding[0], 2 - padding[1]), turned=True)
        if dw is not None:
            winograd_weight_grad.filter_gradient(x, g, dw, padding)
        return dx, dw, db
    image, filters, result = _as_pixels(x, weight, g, stride, padding, groups)
    if result is not g:
        stride, padding, dilation = (1, 1), (0, 0), (1, 1)
    if dx is not None:
        target = dx.reshape(image.shape)
        _image_gradient(result, filters, target, stride, padding, dilation, groups)
    if dw is not None:
        along = axes.axes_forward(image, filters, stride, padding, dilation)
        small = _way(result, along) is small_images
        way = small_images if small else direct_weight_grad
        way.filter_gradient(image, result, dw.reshape(filters.shape), along, groups)
    return dx, dw, db


KERNELS = {"conv2d": KernelPair(forward, backward, writes=True)}
