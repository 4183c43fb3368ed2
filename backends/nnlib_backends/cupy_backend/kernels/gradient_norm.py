"""Launchers of ``gradient_norm.cu``: norm, clipping and unscaling of all gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.kernels.launch import Launcher, real

__all__ = ["joined", "make_updates"]

_FILE = "gradient_norm"
_NUMBERS = 1 << 14  # least numbers of a block
_MOST = 512  # blocks at most, whose sums one block adds up


def make_updates(launcher: Launcher) -> dict[str, Callable[..., Any]]:
    """Return ``norm``, ``clip`` and ``unscale``, see `Backend`."""
    return {
        "norm": partial(_norm, launcher),
        "clip": partial(_clip, launcher),
        "unscale": partial(_unscale, launcher),
    }


def _norm(launcher: Launcher, arrays: Sequence[Array]) -> Any:
    if not arrays or not real(*arrays):
        return NotImplemented
    dtype = arrays[0].dtype
    counts = [min(-(-array.size // _NUMBERS), _MOST) for array in arrays]
    parts, result = launcher.empty((sum(counts),), dtype), launcher.empty((1,), dtype)
    start = 0
    for array, count in zip(arrays, counts, strict=True):
        part = parts[start : start + count]
        start += count
        x = launcher.dense(array, dtype)
        launcher.blocks(_FILE, "sum_of_squares", x, part, x.size, blocks=count, like=x)
    launcher.blocks(_FILE, "root_of_sum", parts, result, parts.size, blocks=1, like=parts)
    return result.reshape(())


def _clip(launcher: Launcher, arrays: Sequence[Array], norm: Array, limit: float) -> Any:
    if not _served(arrays) or norm.dtype != arrays[0].dtype:
        return NotImplemented
    for x in joined(launcher, arrays):
        launcher.elementwise(_FILE, "shrink", x, norm, float(limit), x.size, n=x.size, like=x)
    return None


def _unscale(launcher: Launcher, arrays: Sequence[Array], scale: Array, found: Array) -> Any:
    if not _served(arrays) or not scale.dtype == found.dtype == "float32":
        return NotImplemented
    for x in joined(launcher, arrays):
        launcher.elementwise(_FILE, "unscale", x, scale, found, x.size, n=x.size, like=x)
    return None


def joined(launcher: Launcher, arrays: Sequence[Array]) -> list[Array]:
    """Return views of C-contiguous arrays' memory, one for neighbours in a flat buffer."""
    parts: list[tuple[Array, int, int]] = []  # flat buffer, first, last + 1
    for array in sorted(arrays, key=launcher.address):
        flat = array
        while flat.base is not None:
            flat = flat.base
        if flat.ndim != 1 or flat.dtype != array.dtype or not flat.flags.c_contiguous:
            flat = array.reshape(-1)
        start = (launcher.address(array) - launcher.address(flat)) // array.itemsize
        stop = start + array.size
        before, first, last = parts[-1] if parts else (None, 0, 0)
        if last == start > 0 and launcher.address(before) == launcher.address(flat):
            parts[-1] = (flat, first, stop)
        else:
            parts.append((flat, start, stop))
    return [flat[first:last] for flat, first, last in parts]


def _served(arrays: Sequence[Array]) -> bool:
    """Tell whether kernels can change the arrays in place."""
    return bool(arrays) and real(*arrays) and all(a.flags.c_contiguous for a in arrays)
