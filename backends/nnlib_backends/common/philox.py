"""Philox4x32-10, a counter-based random number generator with the same stream on every backend.

Number ``i`` is a function of (seed, i) alone, so any part of the stream can be computed on its own,
and the generator's state is two integers.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, §4.3.
"""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array

M0, M1 = 0xD2511F53, 0xCD9E8D57  # multipliers of the two lanes
W0, W1 = 0x9E3779B9, 0xBB67AE85  # Weyl sequence that advances the key: golden ratio, sqrt(3)-1
ROUNDS = 10
# Counters at a time, so that the temporaries of a round stay in the L2 cache; a namespace can have
# another value in `philox_chunk`.
_CHUNK = 1 << 14
_LOW = 0xFFFFFFFF


def philox4x32(xp: Any, seed: int | Array, offset: int | Array, count: int) -> Array:
    """Random 32-bit words ``4*offset … 4*offset + count - 1`` of a seed's stream.

    Parameters
    ----------
    xp : namespace
    seed : int, or array of uint64, shape (1,)
        64-bit key.
    offset : int, or array of uint64, shape (1,)
        First 128-bit counter; each counter yields four words.
    count : int
        How many words.

    Returns
    -------
    array of uint32, shape (count,)

    Examples
    --------
    The first words for key 0 and counter 0, as in the authors' test vectors:

    >>> import numpy as np
    >>> [hex(word) for word in philox4x32(np, seed=0, offset=0, count=4)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    counters = -(-count // 4)
    words = xp.empty((counters, 4), dtype=xp.uint32)
    u64 = xp.uint64
    chunk = getattr(xp, "philox_chunk", _CHUNK)
    first = u64(offset) if isinstance(offset, int) else offset
    for start in range(0, counters, chunk):
        stop = min(start + chunk, counters)
        index = xp.arange(stop - start, dtype=u64) + u64(start) + first
        zero = xp.zeros(stop - start, dtype=u64)
        counter = (index & u64(_LOW), index >> u64(32), zero, zero)
        for column, values in enumerate(_rounds(xp, seed, counter)):
            words[start:stop, column] = values
    return words.reshape(-1)[:count]


def limit(p: float) -> int:
    """Return the bound below which a random word lies with probability ``p`` (within 2**-32).

    Examples
    --------
    >>> limit(0.5) == 2**31, limit(0.0), limit(1.0) == 2**32
    (True, 0, True)
    """
    return min(int(p * 2**32), 2**32 - 1) if p < 1 else 2**32


def kept(xp: Any, key: Array, count: int, p: float) -> Array:
    """Dropout's mask: booleans (count,), false with probability ``p``.

    Parameters
    ----------
    xp : namespace
    key : array of int64, shape (2,)
        Seed (its bits as a signed number) and offset.
    count : int
        How many.
    p : float
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> kept(np, np.array([0, 0]), 6, 0.5)
    array([ True, False, False, False, False,  True])
    """
    numbers = key.astype(xp.uint64)
    words = philox4x32(xp, numbers[:1], numbers[1:], count)
    bound = limit(1 - p)
    return words < bound if bound < 2**32 else words >= 0


def _halves(xp: Any, seed: int | Array) -> tuple[Any, Any]:
    """Return lower and upper 32 bits, as uint64."""
    if isinstance(seed, int):
        return xp.uint64(seed & _LOW), xp.uint64(seed >> 32)
    return seed & xp.uint64(_LOW), seed >> xp.uint64(32)


def _rounds(xp: Any, seed: int | Array, counter: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return four words for each 128-bit counter, given as four uint64 (n,) below 2**32.

    The algorithm's mullo and mulhi are the lower and upper halves of uint64 products.
    """
    u64 = xp.uint64
    low, half = u64(_LOW), u64(32)
    c0, c1, c2, c3 = counter
    key0, key1 = _halves(xp, seed)
    for _ in range(ROUNDS):
        product0, product1 = c0 * u64(M0), c2 * u64(M1)
        c0, c1, c2, c3 = (
            (product1 >> half) ^ c1 ^ key0,
            product1 & low,
            (product0 >> half) ^ c3 ^ key1,
            product0 & low,
        )
        key0, key1 = (key0 + u64(W0)) & low, (key1 + u64(W1)) & low
    return c0, c1, c2, c3
