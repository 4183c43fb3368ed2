"""Convolution by im2col and pooling, in terms of ``xp``: the kernel pairs of every backend.

All windows as rows of one matrix would take kh·kw times the image's memory, so a block of rows at a
time is copied and multiplied, small enough to stay in cache.

Shapes: images (N, H, W, C), filters (O, kh, kw, C / groups), windows (pixels, kh·kw·C / groups).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import activate, derive, rows_of
from nnlib_backends.dtypes import total

Pair: TypeAlias = tuple[int, int]


def make_kernels(xp: Any, block_bytes: int = 4 << 20) -> dict[str, KernelPair]:
    """Return the kernel pairs of ``conv2d``, ``max_pool2d`` and ``avg_pool2d``.

    Parameters
    ----------
    xp : namespace
    block_bytes : int
        Size of a block of windows: about a CPU's cache; larger on a GPU, where large GEMMs are
        faster.
    """
    convolution = Im2colConvolution(xp, block_bytes)
    pooling = ShiftPooling(xp)
    return {
        "conv2d": with_activation(xp, KernelPair(convolution.forward, convolution.backward)),
        "max_pool2d": KernelPair(pooling.max_forward, pooling.max_backward),
        "avg_pool2d": KernelPair(pooling.mean_forward, pooling.mean_backward),
    }


def with_activation(xp: Any, kernel: KernelPair) -> KernelPair:
    """Add the option ``activation`` to a kernel pair.

    Parameters
    ----------
    xp : namespace
    kernel : KernelPair
        Its `backward` must accept ``None`` as ``saved``.
    """

    def forward(
        *arrays: Array | None, activation: str | None = None, **options: Any
    ) -> tuple[Array, Array | None]:
        y = activate(xp, kernel.forward(*arrays, **options)[0], activation)
        return y, None if activation is None else y

    def backward(
        g: Array, y: Array | None, grads_out: GradsOut, *arrays: Array | None,
        activation: str | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        return kernel.backward(derive(g, y, activation), None, grads_out, *arrays, **options)

    return KernelPair(forward, backward)


@dataclass(frozen=True)
class Block:
    """Some rows of one image's result, or the results of several images."""

    images: slice
    rows: slice


class Im2colConvolution:
    """Convolution by im2col, a block at a time."""

    def __init__(self, xp: Any, block_bytes: int) -> None:
        self.xp = xp
        self.block_bytes = block_bytes

    def forward(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        *,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: int,
    ) -> tuple[Array, None]:
        """(N, H, W, C) → (N, H', W', O)."""
        windows = self._windows(x, weight.shape[1:3], stride, padding, dilation)
        y = self.xp.empty((*windows.shape[:3], weight.shape[0]), dtype=x.dtype)
        for part, filters, outputs in _groups(windows, weight, groups):
            matrix = _filter_rows(filters).T
            for block, columns in self._blocks(part):
                self._multiply_into(y, block, outputs, columns, matrix, bias)
        return y, None

    def _multiply_into(
        self, y: Array, block: Block, outputs: slice, columns: Array, matrix: Array, bias: Any
    ) -> None:
        target = y[block.images, block.rows]
        if outputs == slice(0, y.shape[3]):  # contiguous
            flat = rows_of(target)
            self.xp.matmul(columns, matrix, out=flat)
            if bias is not None:
                flat += bias
        else:
            product = self.xp.matmul(columns, matrix)
            if bias is not None:
                product += bias[outputs]
            target[..., outputs] = product.reshape(*target.shape[:3], -1)

    def backward(
        self,
        g: Array,
        saved: None,
        grads_out: GradsOut,
        x: Array,
        weight: Array,
        bias: Array | None,
        **options: Any,
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Gradients by image, filters and bias; the options are those of `forward`."""
        g = self.xp.ascontiguousarray(g)
        dx = dw = db = None
        if grads_out[0]:
            padding, sizes = options["padding"], weight.shape[1:3]
            reach = tuple(d * (k - 1) for d, k in zip(options["dilation"], sizes, strict=True))
            unit = options["stride"] == (1, 1)
            if unit and reach[0] >= padding[0] and reach[1] >= padding[1]:
                dx = self._image_gradient_by_convolution(g, weight, reach, **options)
            else:
                dx = self._image_gradient_by_scattering(g, x, weight, **options)
        if grads_out[1]:
            dw = self._filter_gradient(g, x, weight, **options)
        if len(grads_out) > 2 and grads_out[2]:
            db = total(self.xp, g, axis=(0, 1, 2))
        return dx, dw, db

    def _filter_gradient(
        self, g: Array, x: Array, weight: Array, *, stride: Pair, padding: Pair, dilation: Pair,
        groups: int,
    ) -> Array:  # fmt: skip
        """DW = gᵀ · windows, summed over the blocks."""
        windows = self._windows(x, weight.shape[1:3], stride, padding, dilation)
        dw = self.xp.zeros(weight.shape, dtype=weight.dtype)
        for part, target, outputs in _groups(windows, dw, groups):
            flat = _filter_rows(target)  # a view: dw is contiguous
            for block, columns in self._blocks(part):
                rows = rows_of(g[block.images, block.rows][..., outputs])
                flat += self.xp.matmul(rows.T, columns)
        return dw

    def _image_gradient_by_convolution(
        self, g: Array, weight: Array, reach: Pair, *, stride: Pair, padding: Pair, dilation: Pair,
        groups: int,
    ) -> Array:  # fmt: skip
        """With stride 1 the gradient is a convolution of g with the filters rotated by 180°."""
        o, kh, kw, c = weight.shape
        turned = weight[:, ::-1, ::-1].reshape(groups, o // groups, kh, kw, c)
        turned = self.xp.ascontiguousarray(turned.transpose(0, 4, 2, 3, 1))
        turned = turned.reshape(groups * c, kh, kw, o // groups)
        back = (reach[0] - padding[0], reach[1] - padding[1])
        return self.forward(
            g, turned, None, stride=stride, padding=back, dilation=dilation, groups=groups
        )[0]

    def _image_gradient_by_scattering(
        self, g: Array, x: Array, weight: Array, *, stride: Pair, padding: Pair, dilation: Pair,
        groups: int,
    ) -> Array:  # fmt: skip
        """Add the gradient by each window to the pixels of the window (col2im)."""
        n, height, width, channels = x.shape
        _, kh, kw, c = weight.shape
        (ph, pw), (sh, sw), (dh, dw) = padding, stride, dilation
        dx = self.xp.zeros((n, height + 2 * ph, width + 2 * pw, channels), dtype=x.dtype)
        rows, columns, o = g.shape[1], g.shape[2], weight.shape[0] // groups
        for i in range(groups):
            matrix = _filter_rows(weight[i * o : (i + 1) * o])
            for block in self._cut(n, rows, columns * matrix.shape[1] * x.dtype.itemsize):
                part = g[block.images, block.rows, :, i * o : (i + 1) * o]
                windows = self.xp.matmul(rows_of(part), matrix)
                windows = windows.reshape(*part.shape[:3], kh, kw, c)
                image = dx[block.images, block.rows.start * sh :, :, i * c : (i + 1) * c]
                for y in range(kh):
                    for z in range(kw):
                        image[
                            :,
                            y * dh : y * dh + part.shape[1] * sh : sh,
                            z * dw : z * dw + columns * sw : sw,
                        ] += windows[:, :, :, y, z]
        return dx[:, ph : ph + height, pw : pw + width]

    def _windows(self, x: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
        """View every window: (N, H', W', kh, kw, C); only padding makes a copy."""
        if padding != (0, 0):
            x = _pad(self.xp, x, padding, 0)
        reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True))
        windows = self.xp.sliding_window_view(x, reach, axis=(1, 2))
        windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
        return windows.transpose(0, 1, 2, 4, 5, 3)

    def _blocks(self, windows: Array) -> Iterator[tuple[Block, Array]]:
        """Yield blocks of windows as matrix rows, in one reused buffer."""
        n, rows, columns, kh, kw, c = windows.shape
        length = kh * kw * c
        # Copying rows of few channels is slow; transposed, each copied run is as long as the image
        # is wide.  The matrix product takes either order.
        by_columns = kw * c < 16
        buffer = None
        for block in self._cut(n, rows, columns * length * windows.dtype.itemsize):
            part = windows[block.images, block.rows]
            pixels = part.shape[0] * part.shape[1] * columns
            if buffer is None or buffer.shape[0] < pixels * length:
                buffer = self.xp.empty((pixels * length,), dtype=windows.dtype)
            flat = buffer[: pixels * length]
            if by_columns:
                flat.reshape(kh, kw, c, *part.shape[:3])[...] = part.transpose(3, 4, 5, 0, 1, 2)
                yield block, flat.reshape(length, pixels).T
            else:
                flat.reshape(part.shape)[...] = part
                yield block, flat.reshape(pixels, length)

    def _cut(self, n: int, rows: int, row_bytes: int) -> Iterator[Block]:
        """Yield blocks of at most ``block_bytes``: whole images, or rows of one."""
        at_once = max(self.block_bytes // max(row_bytes, 1), 1)
        if at_once >= rows:
            step = max(at_once // max(rows, 1), 1)
            for start in range(0, n, step):
                yield Block(slice(start, min(start + step, n)), slice(0, rows))
            return
        for image in range(n):
            for start in range(0, rows, at_once):
                yield Block(slice(image, image + 1), slice(start, min(start + at_once, rows)))


def _filter_rows(weight: Array) -> Array:
    """(O, kh, kw, C) → (O, kh·kw·C); without −1, which fails where O is 0."""
    return weight.reshape(weight.shape[0], math.prod(weight.shape[1:]))


def _groups(windows: Array, weight: Array, groups: int) -> Iterator[tuple[Array, Array, slice]]:
    """Yield the windows, the filters and the output channels of each group."""
    c, o = weight.shape[3], weight.shape[0] // groups
    for i in range(groups):
        outputs = slice(i * o, (i + 1) * o)
        yield windows[..., i * c : (i + 1) * c], weight[outputs], outputs


def _pad(xp: Any, x: Array, padding: Pair, value: float) -> Array:
    n, height, width, channels = x.shape
    (ph, pw) = padding
    padded = xp.full((n, height + 2 * ph, width + 2 * pw, channels), value, dtype=x.dtype)
    padded[:, ph : ph + height, pw : pw + width] = x
    return padded


class ShiftPooling:
    """Pooling by elementwise operations on shifted views of the image."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def max_forward(
        self, x: Array, *, size: Pair, stride: Pair, padding: Pair
    ) -> tuple[Array, Array]:
        """Largest value of every window."""
        views = list(self._shifts(self._padded(x, padding, float("-inf")), size, stride))
        y = views[0].copy()
        for view in views[1:]:
            self.xp.maximum(y, view, out=y)
        return y, y

    def max_backward(
        self,
        g: Array,
        y: Array,
        grads_out: GradsOut,
        x: Array,
        *,
        size: Pair,
        stride: Pair,
        padding: Pair,
    ) -> tuple[Array]:
        """Add the gradient to the first pixel of each window that equals the maximum."""
        padded = self._padded(x, padding, float("-inf"))
        dx = self.xp.zeros(padded.shape, dtype=x.dtype)
        left = g  # 0 once a pixel of the window has taken the gradient
        shifts = zip(
            self._shifts(padded, size, stride), self._shifts(dx, size, stride), strict=True
        )
        for view, target in shifts:
            taken = left * (view == y)
            target += taken
            left = left - taken
        return (self._cropped(dx, x, padding),)

    def mean_forward(
        self, x: Array, *, size: Pair, stride: Pair, padding: Pair
    ) -> tuple[Array, None]:
        """Mean of every window."""
        views = list(self._shifts(self._padded(x, padding, 0.0), size, stride))
        y = views[0].copy()
        for view in views[1:]:
            y += view
        y *= 1.0 / (size[0] * size[1])
        return y, None

    def mean_backward(
        self, g: Array, saved: None, grads_out: GradsOut, x: Array, *, size: Pair, stride: Pair,
        padding: Pair,
    ) -> tuple[Array]:  # fmt: skip
        """Add an equal share of the gradient to every pixel of a window."""
        n, height, width, channels = x.shape
        shape = (n, height + 2 * padding[0], width + 2 * padding[1], channels)
        dx = self.xp.zeros(shape, dtype=x.dtype)
        share = g * (1.0 / (size[0] * size[1]))
        for target in self._shifts(dx, size, stride):
            target += share
        return (self._cropped(dx, x, padding),)

    def _shifts(self, x: Array, size: Pair, stride: Pair) -> Iterator[Array]:
        """Yield, for each position in the window, a view of that pixel of every window."""
        rows = (x.shape[1] - size[0]) // stride[0] * stride[0] + 1
        columns = (x.shape[2] - size[1]) // stride[1] * stride[1] + 1
        for i in range(size[0]):
            for j in range(size[1]):
                yield x[:, i : i + rows : stride[0], j : j + columns : stride[1]]

    def _padded(self, x: Array, padding: Pair, value: float) -> Array:
        return x if padding == (0, 0) else _pad(self.xp, x, padding, value)

    def _cropped(self, dx: Array, x: Array, padding: Pair) -> Array:
        ph, pw = padding
        return dx[:, ph : ph + x.shape[1], pw : pw + x.shape[2]]
