"""Launcher of ``embedding.cu``: a deterministic gradient, without atomic additions."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.launch import Launcher, real
from nnlib_backends.cupy_backend.kernels.sorting import sort_indices
from nnlib_backends.dtypes import LOW_DTYPES

__all__ = ["make_kernels"]


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``embedding``, whose forward pass is ``xp.take``."""
    forward = general["embedding"].forward

    def backward(
        g: Array, saved: None, grads_out: GradsOut, weight: Array, indices: Array
    ) -> tuple[Array | None, None]:
        d = launcher.grad_memory(grads_out[0], weight.shape, weight.dtype)
        if d is None:
            return None, None
        d[...] = 0
        low = g.dtype.name in LOW_DTYPES and weight.dtype == "float32"
        g = launcher.dense(g, g.dtype if low else weight.dtype)
        places = launcher.dense(indices.reshape(-1), "int64")
        ordered, order = sort_indices(launcher, places, weight.shape[0])
        launcher.runs(
            "embedding", "embedding_gradient", g, order, ordered, d, places.size, weight.shape[0],
            count=places.size, columns=weight.shape[1], like=g,
        )  # fmt: skip
        return d, None

    def served(weight: Array, indices: Array) -> bool:
        return real(weight) and indices.size > 0

    own = KernelPair(forward, backward, half=True, writes=True)
    return {"embedding": either(served, own, general["embedding"])}
