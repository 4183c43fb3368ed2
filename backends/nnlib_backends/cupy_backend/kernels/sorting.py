"""Launchers of ``sorting.cu``: a stable sort of indices, without waiting for the GPU."""

from __future__ import annotations

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.kernels.launch import THREADS, Launcher

__all__ = ["sort_indices"]

_FILE = "sorting"
_BITS = 8  # sorted in a pass
_MOST_CHUNKS = 256  # whose counts one block adds up


def sort_indices(launcher: Launcher, indices: Array, entries: int) -> tuple[Array, Array]:
    """Sort indices by a stable sort.

    Parameters
    ----------
    launcher : Launcher
    indices : (n,) int64, C-contiguous, n > 0
        An index outside [0, entries) counts as ``entries``.
    entries : int

    Returns
    -------
    sorted, order : (n,) int64
        ``sorted = indices[order]``.
    """
    n, order = indices.size, None
    tiles = -(-n // THREADS)
    chunk = -(-tiles // _MOST_CHUNKS) * THREADS
    chunks = -(-n // chunk)
    for shift in range(0, max(entries.bit_length(), 1), _BITS):
        counts = launcher.empty(((1 << _BITS) * chunks,), "int64")
        moved, new_order = (launcher.empty((n,), "int64") for _ in range(2))
        options = (shift, entries, n, chunk)
        launcher.integers(_FILE, "sort_counts", indices, counts, *options, blocks=chunks)
        launcher.integers(_FILE, "sort_offsets", counts, counts.size, blocks=1)
        launcher.integers(
            _FILE, "sort_move", indices, order, counts, moved, new_order, *options, blocks=chunks
        )
        indices, order = moved, new_order
    assert order is not None
    return indices, order
