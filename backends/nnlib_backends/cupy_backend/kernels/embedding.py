"""Launcher of ``embedding.cu``: a gradient that is the same each time, without atomic additions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnlib_backends.contract import Array, Kernel
from nnlib_backends.cupy_backend.kernels.launcher import Launcher, either, real
from nnlib_backends.cupy_backend.kernels.sorting import sort_indices

__all__ = ["make_kernels"]


def make_kernels(launcher: Launcher, general: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """Return ``embedding``; reading rows is what ``xp`` does."""
    xp, forward = launcher.xp, general["embedding"].forward

    def backward(
        g: Array, saved: None, needs: Sequence[Any], weight: Array, indices: Array
    ) -> tuple[Array, None]:
        d = xp.zeros(weight.shape, dtype=weight.dtype)
        places = launcher.dense(indices.reshape(-1), "int64")
        ordered, order = sort_indices(launcher, places, weight.shape[0])
        launcher.runs(
            "embedding", "embedding_gradient", launcher.dense(g, weight.dtype), order, ordered, d,
            places.size, weight.shape[0],
            count=places.size, columns=weight.shape[1], like=weight,
        )  # fmt: skip
        return d, None

    def served(weight: Array, indices: Array) -> bool:
        return real(weight) and indices.size > 0

    return {"embedding": either(served, Kernel(forward, backward), general["embedding"])}
