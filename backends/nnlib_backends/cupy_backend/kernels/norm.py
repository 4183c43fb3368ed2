"""Launchers of ``norm.cu``: the norm of all gradients, for clipping."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib_backends.contract import Array
from nnlib_backends.cupy_backend.kernels.launcher import MAX_BLOCKS, Launcher, real

__all__ = ["global_norm"]

_FILE = "norm"
_NUMBERS = 1 << 14  # for each block; the few sums that remain are for one block


def global_norm(launcher: Launcher, arrays: Sequence[Array]) -> Array | None:
    """Return the 2-norm of all values together, 0-d; ``None`` for arrays without a kernel."""
    if not arrays or not real(*arrays):
        return None
    dtype = arrays[0].dtype
    counts = [min(-(-array.size // _NUMBERS), MAX_BLOCKS) for array in arrays]
    parts, result = launcher.empty((sum(counts),), dtype), launcher.empty((1,), dtype)
    start = 0
    for array, count in zip(arrays, counts, strict=True):
        part = parts[start : start + count]
        start += count
        x = launcher.dense(array, dtype)
        launcher.blocks(_FILE, "sum_of_squares", x, part, x.size, blocks=count, like=x)
    launcher.blocks(_FILE, "root_of_sum", parts, result, parts.size, blocks=1, like=parts)
    return result.reshape(())
