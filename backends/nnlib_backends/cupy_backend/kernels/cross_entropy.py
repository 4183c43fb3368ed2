"""Launchers of ``cross_entropy.cu``: softmax cross-entropy, which stores no probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.launch import Launcher, mixed, wide

__all__ = ["make_kernels"]

_FILE = "cross_entropy"


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``softmax_cross_entropy``."""

    def forward(logits: Array, labels: Array) -> tuple[Array, tuple[Array, Array]]:
        rows = logits.shape[0]
        loss, largest, logarithm = (launcher.empty((rows,), wide(logits.dtype)) for _ in range(3))
        launcher.rows(
            _FILE, "cross_entropy_forward", launcher.dense(logits, logits.dtype),
            launcher.dense(labels, "int64"), loss, largest, logarithm,
            shape=logits.shape, like=logits,
        )  # fmt: skip
        return loss, (largest, logarithm)

    def backward(
        g: Array, saved: tuple[Array, Array], grads_out: GradsOut, logits: Array, labels: Array
    ) -> tuple[Array | None, None]:
        d = launcher.grad_memory(grads_out[0], logits.shape, logits.dtype)
        if d is None:
            return None, None
        launcher.rows(
            _FILE, "cross_entropy_backward", launcher.dense(g, wide(logits.dtype)),
            launcher.dense(logits, logits.dtype), launcher.dense(labels, "int64"), *saved, d,
            shape=logits.shape, like=logits,
        )  # fmt: skip
        return d, None

    def served(logits: Array, labels: Array) -> bool:
        return logits.ndim == 2 and mixed(logits)

    name = "softmax_cross_entropy"
    own = KernelPair(forward, backward, half=True, writes=True)
    return {name: either(served, own, general[name])}
