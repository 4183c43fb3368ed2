"""``conv2d`` by cuDNN, or by im2col for problems without a cuDNN plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnlib_backends.base import Array, GradOut, GradsOut, KernelPair
from nnlib_backends.common.fused import activate, derive
from nnlib_backends.cupy_backend.cudnn.convolution_graph import (
    BIAS,
    FILTERS,
    IMAGE,
    RESULT,
    Convolution,
)
from nnlib_backends.cupy_backend.cudnn.graphs import DTYPES
from nnlib_backends.cupy_backend.cudnn.memory import aligned, delivered, in_float32, is_aligned
from nnlib_backends.cupy_backend.cudnn.planner import Planner
from nnlib_backends.dtypes import LOW_DTYPES

__all__ = ["Epilogue", "make_convolution"]

_CHANNELS = {2: 8, 4: 4}  #: bytes of a number → how many a tensor core's kernel loads at a time


@dataclass(frozen=True)
class Epilogue:
    """Bias and activation of a convolution, where cuDNN does not compute them.

    Both functions may return ``NotImplemented``.

    Attributes
    ----------
    activate : callable
        ``activate(y, activation)``: the activated result, perhaps in the same memory.
    sum_bias : callable
        ``sum_bias(g, y, activation, out)``: the gradient before the activation, whose result was
        ``y`` (``None`` without one), and its sum over all pixels, (O,), in float32 for half dtypes,
        written into ``out`` if given.
    """

    activate: Callable[[Array, str], Any] = lambda y, activation: NotImplemented
    sum_bias: Callable[[Array, Array | None, str | None, Array | None], Any] = (
        lambda g, y, activation, out: NotImplemented
    )


class CudnnConvolution:
    """The functions of the kernel pair.

    With data of a half dtype, filters and bias may be float32: they are rounded once, in the
    forward pass.  An image whose channels are no multiple of `_CHANNELS` (a first layer's three) is
    padded by channels of zeros once for both directions, so that cuDNN uses tensor cores without
    padding in each kernel.

    Parameters
    ----------
    planner : Planner
    xp : namespace
    fallback : KernelPair
        ``conv2d`` in float32, whose `backward` needs nothing saved unless there is an activation.
    tf32 : callable
        Whether float32 products may be TF32 now.
    epilogue : Epilogue
    """

    def __init__(
        self,
        planner: Planner,
        xp: Any,
        fallback: KernelPair,
        tf32: Callable[[], bool],
        epilogue: Epilogue,
    ) -> None:
        self._planner, self._xp, self._tf32, self._around = planner, xp, tf32, epilogue
        self._fallback = in_float32(fallback)

    def forward(
        self, x: Array, weight: Array, bias: Array | None, *, activation: str | None = None,
        **options: Any,
    ) -> tuple[Array, Any]:  # fmt: skip
        """(N, H, W, C) → (N, H', W', O); saves the result, half filters and the padded image."""
        if not _served(x, weight, bias):
            y, _ = self._fallback.forward(x, weight, bias, activation=activation, **options)
            return y, (None if activation is None else y, None, None)
        image, filters = self._operands(x, weight, options)
        fused = activation == "relu"
        problem = self._problem("forward", image, filters, options, bias is not None, fused)
        y = None
        if 0 not in problem.result:
            y = self._xp.empty(problem.result, dtype=x.dtype)
            buffers = {IMAGE: image, FILTERS: filters, RESULT: y}
            if bias is not None:
                buffers[BIAS] = aligned(self._xp, bias, x.dtype)
            if not self._planner.run(problem, buffers):
                y = None
        if y is None:
            y, _ = self._fallback.forward(x, weight, bias, activation=activation, **options)
        elif activation is not None and not fused:
            y = self._activated(y, activation)
        return y, (
            None if activation is None else y,
            None if filters is weight else filters,
            None if image.shape == x.shape else image,
        )

    def backward(
        self, g: Array, saved: Any, grads_out: GradsOut, x: Array, weight: Array,
        bias: Array | None, *, activation: str | None = None, **options: Any,
    ) -> list[Array | None]:  # fmt: skip
        """Gradients by image, filters and bias."""
        y, filters, image = saved
        g, db = self._before(g, y, activation, grads_out[2])
        found: list[Array | None] = [None, None, db]
        if _served(x, weight, bias) and g.size and g.dtype == x.dtype:
            g = aligned(self._xp, g)
            if grads_out[0]:
                used = weight if filters is None else filters
                found[0] = self._image_gradient(g, x, used, options)
            if grads_out[1]:
                padded = x if image is None else image
                found[1] = self._filter_gradient(g, padded, weight, grads_out[1], options)
        missing = [grads_out[i] if found[i] is None else None for i in (0, 1)]
        if any(missing):
            rest = self._fallback.backward(g, None, (*missing, None), x, weight, bias, **options)
            found[:2] = [rest[i] if missing[i] else found[i] for i in (0, 1)]
        return [
            None if array is None else delivered(gradient, out, array.dtype)
            for gradient, out, array in zip(found, grads_out, (x, weight, bias), strict=True)
        ]

    # Computed by cuDNN -------------------------------------------------------------------------

    def _operands(self, x: Array, weight: Array, options: dict[str, Any]) -> tuple[Array, Array]:
        """Return padded image and filters for the forward plan."""
        extra = -x.shape[3] % _CHANNELS[x.dtype.itemsize]
        on_tensor_cores = x.dtype.name in LOW_DTYPES or self._tf32()
        if extra and options["groups"] == 1 and on_tensor_cores:
            return self._padded(x, extra, x.dtype), self._padded(weight, extra, x.dtype)
        return aligned(self._xp, x), aligned(self._xp, weight, x.dtype)

    def _padded(self, array: Array, extra: int, dtype: Any) -> Array:
        """Return an array with ``extra`` channels of zeros appended."""
        *shape, channels = array.shape
        padded = self._xp.zeros((*shape, channels + extra), dtype=dtype)
        padded[..., :channels] = array
        return padded

    def _image_gradient(
        self, g: Array, x: Array, filters: Array, options: dict[str, Any]
    ) -> Array | None:
        channels = x.shape[3] // options["groups"]
        filters = aligned(self._xp, filters[..., :channels], x.dtype)
        dx = self._xp.empty(x.shape, dtype=x.dtype)
        problem = self._problem("image", dx, filters, options)
        done = self._planner.run(problem, {RESULT: g, FILTERS: filters, IMAGE: dx})
        return dx if done else None

    def _filter_gradient(
        self, g: Array, image: Array, weight: Array, out: GradOut, options: dict[str, Any]
    ) -> Array | None:
        """Compute in the data's dtype.

        For half dtypes cuDNN has one kernel only that writes float32, the last in its list, which
        is compiled at run time.
        """
        image = aligned(self._xp, image)
        shape = (*weight.shape[:3], image.shape[3] // options["groups"])
        dw = out.array if shape == weight.shape and weight.dtype == image.dtype else None
        if dw is None or not is_aligned(dw):
            dw = self._xp.empty(shape, dtype=image.dtype)
        problem = self._problem("filters", image, dw, options)
        if not self._planner.run(problem, {RESULT: g, IMAGE: image, FILTERS: dw}):
            return None
        own = weight.shape[3]
        return dw if own == shape[3] else self._xp.ascontiguousarray(dw[..., :own])

    def _problem(
        self, direction: str, image: Array, filters: Array, options: dict[str, Any],
        bias: bool = False, relu: bool = False,
    ) -> Convolution:  # fmt: skip
        stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
        height, width = (
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                image.shape[1:3], filters.shape[1:3], stride, padding, dilation, strict=True
            )
        )
        result = (image.shape[0], height, width, filters.shape[0])
        dtype = image.dtype.name
        return Convolution(
            direction, image.shape, filters.shape, result, dtype, bias, relu, stride, padding,
            dilation, tf32=dtype == "float32" and self._tf32(),
        )  # fmt: skip

    # Epilogue ----------------------------------------------------------------------------------

    def _activated(self, y: Array, activation: str) -> Array:
        result = self._around.activate(y, activation)
        if result is not NotImplemented:
            return result
        if y.dtype.name in LOW_DTYPES:
            return activate(self._xp, y.astype("float32"), activation).astype(y.dtype)
        return activate(self._xp, y, activation)

    def _before(
        self, g: Array, y: Array | None, activation: str | None, out: GradOut | None
    ) -> tuple[Array, Array | None]:
        """Return the gradient before the activation, and its sum over all pixels if needed."""
        if out is not None:
            pair = self._around.sum_bias(g, y, activation, out.array)
            if pair is not NotImplemented:
                before, total = pair
                return before, total
        wide = g
        if g.dtype.name in LOW_DTYPES:
            wide, y = g.astype("float32"), None if y is None else y.astype("float32")
        wide = derive(wide, y, activation)
        total = None if out is None else wide.sum(axis=(0, 1, 2))
        return (g if y is None else wide.astype(g.dtype, copy=False)), total


def make_convolution(
    planner: Planner,
    xp: Any,
    fallback: KernelPair,
    tf32: Callable[[], bool],
    epilogue: Epilogue | None = None,
) -> KernelPair:
    """Return cuDNN's ``conv2d``, see `CudnnConvolution`."""
    kernel = CudnnConvolution(planner, xp, fallback, tf32, epilogue or Epilogue())
    return KernelPair(kernel.forward, kernel.backward, half=True, writes=True)


def _served(x: Array, weight: Array, bias: Array | None) -> bool:
    """Tell whether cuDNN supports the dtypes: one for all, or half data with float32 parameters."""
    name = x.dtype.name
    dtypes = (name, "float32") if name in LOW_DTYPES else (name,)
    others = (weight,) if bias is None else (weight, bias)
    known = name in DTYPES and all(other.dtype.name in dtypes for other in others)
    return known and x.size > 0 and weight.size > 0
