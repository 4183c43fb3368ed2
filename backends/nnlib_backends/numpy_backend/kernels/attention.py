"""Scaled dot-product attention: the kernel pairs; the kernels are in `attention_heads`."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import ANYWHERE, GradsOut, KernelPair
from nnlib_backends.common.attention import factor_of, make_kernels
from nnlib_backends.common.fused import stored
from nnlib_backends.numpy_backend import namespace
from nnlib_backends.numpy_backend.codegen.arguments import CpuKernel
from nnlib_backends.numpy_backend.codegen.gemm import multiply_address
from nnlib_backends.numpy_backend.codegen.host import grad_memory
from nnlib_backends.numpy_backend.codegen.simd import LANES
from nnlib_backends.numpy_backend.kernels.attention_heads import (
    BLOCK,
    Sizes,
    attention_backward,
    attention_forward,
)
from nnlib_backends.numpy_backend.kernels.recurrent.sequences import optional
from nnlib_backends.numpy_backend.launch import Array, dense, empty, launch, split

__all__ = ["KERNELS"]

SECOND = 1 << 16  #: multiplications for each thread, at least


class Shapes:
    """Sizes of one call, from q, k and v in three arrays or in one."""

    def __init__(self, parts: tuple[Array, ...]) -> None:
        q, k, v = parts * 3 if len(parts) == 1 else parts
        self.packed = len(parts) == 1
        self.B, self.T, self.H, self.D = q.shape[0], q.shape[1], q.shape[-2], q.shape[-1]
        self.S, self.E = k.shape[1], v.shape[-1]
        self.padded = -(-self.S // LANES) * LANES
        self.work = self.T * self.S * (self.D + self.E)

    def suit(self, mask: Array | None, factor: Array | None, causal: bool) -> bool:
        """Return whether the compiled kernels support the arguments."""
        return (
            min(self.B, self.H, self.T, self.S, self.D, self.E) > 0
            and (not causal or self.T <= self.S)
            and (mask is None or (mask.dtype == bool and mask.shape[-1:] == (self.S,)))
            and (factor is None or factor.shape == (self.B, self.H, self.T, self.S))
        )

    def launch(
        self, kernel: CpuKernel, parts: list[Any], mask: Any, factor: Any, causal: bool,
        scale: float | None, kept: Array, share: int, *more: Array,
    ) -> None:  # fmt: skip
        """Launch a kernel with a workspace of ``share`` rows of scores for every chunk."""
        chunks = split(self.B * self.H, -(-SECOND // self.work))
        strides = [0, 0, 0]
        if mask is not None:
            mask = dense(mask)
            for axis in range(2, mask.ndim + 1):  # from the last axis but one to the first
                strides[4 - axis] = mask.strides[-axis] if mask.shape[-axis] > 1 else 0
        share *= self.padded
        launch(
            kernel, *(parts * 3 if self.packed else parts), mask, *optional(factor),
            factor_of(scale, parts[0]),
            *Sizes(self.H, self.T, self.S, self.D, self.E, self.packed, causal, *strides), kept,
            empty(chunks * share), share, multiply_address(), *more,
            items=self.B * self.H, chunks=chunks,
        )  # fmt: skip


def _make(name: str, count: int) -> KernelPair:
    """Make the kernel of an operation whose first ``count`` arrays hold q, k and v."""
    general = make_kernels(namespace)[name]

    def forward(*arrays: Any, causal: bool, scale: float | None) -> Any:
        shapes, (mask, factor) = Shapes(arrays[:count]), arrays[count:]
        if not shapes.suit(mask, factor, causal):
            return general.forward(*arrays, causal=causal, scale=scale)
        y = empty((shapes.B, shapes.T, shapes.H, shapes.E))
        kept, parts = empty((shapes.B * shapes.H * shapes.T, 2)), optional(*arrays[:count])
        share = shapes.D + shapes.E + BLOCK
        shapes.launch(attention_forward, parts, mask, factor, causal, scale, kept, share, y)
        return y, kept

    def backward(
        g: Array, saved: Array, grads_out: GradsOut, *arrays: Any, causal: bool,
        scale: float | None,
    ) -> Any:  # fmt: skip
        shapes, (mask, factor) = Shapes(arrays[:count]), arrays[count:]
        suits = shapes.suit(mask, factor, causal)
        if not suits or any(grads_out[count:]):
            if suits:
                _, saved = general.forward(*arrays, causal=causal, scale=scale)
            return stored(general, g, saved, grads_out, *arrays, causal=causal, scale=scale)
        parts = optional(*arrays[:count])
        d: list[Any] = [
            grad_memory(out or ANYWHERE, x.shape)
            for out, x in zip(grads_out, arrays[:count], strict=False)
        ]
        share = 2 * shapes.D + shapes.E + 2 * BLOCK
        shapes.launch(
            attention_backward, parts, mask, factor, causal, scale, saved, share, dense(g),
            *(d * 3 if shapes.packed else d),
        )  # fmt: skip
        return [*d, None, None]

    return KernelPair(forward, backward, writes=True)


KERNELS: dict[str, KernelPair] = {
    "attention": _make("attention", 3),
    "self_attention": _make("self_attention", 1),
}
