"""Placing buffers in one block of memory; those with disjoint lifetimes share bytes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from nnlib_backends.common.trace import Buffer
from nnlib_backends.numpy_backend.launch import Array

__all__ = ["ALIGNMENT", "place_buffers"]

ALIGNMENT = 64  #: bytes: a cache line, and the widest vector


def place_buffers(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Choose an offset for every buffer.

    Greedy by size: from the largest to the smallest, each goes into the first sufficient gap among
    the placed buffers whose lifetimes overlap its own.  (The optimum is NP-hard; this is seldom
    more than a few per cent above the lower bound, the largest sum of sizes alive at one time.)

    Returns
    -------
    offsets : list of int
        In bytes, in the order of the buffers.
    total : int
        Bytes.

    Examples
    --------
    >>> from nnlib_backends.common.trace import Buffer
    >>> first = Buffer(0, 64, None, first=0, last=1)
    >>> second = Buffer(1, 64, None, first=1, last=2)
    >>> third = Buffer(2, 64, None, first=2, last=3)
    >>> place_buffers([first, second, third])
    ([0, 64, 0], 128)
    """
    count = len(buffers)
    size = np.array([-(-b.nbytes // ALIGNMENT) * ALIGNMENT for b in buffers], np.int64)
    first = np.array([b.first for b in buffers], np.int64)
    last = np.array([sys.maxsize if b.kept else b.last for b in buffers], np.int64)
    used = first <= last
    offset = np.zeros(count, np.int64)
    placed = np.zeros(count, bool)
    for i in np.lexsort((first, -size)):
        if used[i]:
            together = placed & (first <= last[i]) & (last >= first[i])
            offset[i] = _first_gap(offset[together], size[together], size[i])
            placed[i] = True
    total = int((offset + size)[used].max(initial=0))
    return offset.tolist(), total


def _first_gap(offsets: Array, sizes: Array, size: int) -> int:
    """Return the lowest offset at which ``size`` bytes overlap none of the given buffers."""
    order = np.argsort(offsets)
    ends = np.maximum.accumulate(np.concatenate(([0], (offsets + sizes)[order])))
    gaps = np.concatenate((offsets[order], [sys.maxsize])) - ends
    return int(ends[np.argmax(gaps >= size)])
