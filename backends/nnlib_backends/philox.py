"""Philox4x32-10: random numbers from a counter, the same on every backend.

Number ``i`` of the stream is a function of (seed, i) alone.  There is no state but a position, any
part can be computed anywhere, and a checkpoint needs two integers.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, §4.3.
"""

from __future__ import annotations

from typing import Any

from nnlib_backends.contract import Array

_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # multipliers of the two lanes
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # Weyl sequence that advances the key: golden ratio, sqrt(3)-1
_ROUNDS = 10
_CHUNK = 1 << 14  # counters at a time: the temporaries of one round stay in the L2 cache; a
# namespace whose device wants more at a time says so in `philox_chunk`
_LOW = 0xFFFFFFFF


def philox4x32(xp: Any, seed: int, offset: int, count: int) -> Array:
    """Random 32-bit words ``4*offset … 4*offset + count - 1`` of a seed's stream.

    Parameters
    ----------
    xp : namespace
        Where to compute.
    seed : int
        64-bit key.
    offset : int
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
    for start in range(0, counters, chunk):
        stop = min(start + chunk, counters)
        index = xp.arange(stop - start, dtype=u64) + u64(offset + start)
        zero = xp.zeros(stop - start, dtype=u64)
        counter = (index & u64(_LOW), index >> u64(32), zero, zero)
        for column, values in enumerate(_rounds(xp, seed, counter)):
            words[start:stop, column] = values
    return words.reshape(-1)[:count]


def _rounds(xp: Any, seed: int, counter: tuple[Array, ...]) -> tuple[Array, ...]:
    """Turn 128-bit counters, four lanes of uint64 (n,) each below 2**32, into four words each.

    All arithmetic is done in uint64, whose lower and upper halves are what the algorithm calls
    mullo and mulhi.
    """
    u64 = xp.uint64
    low, half = u64(_LOW), u64(32)
    c0, c1, c2, c3 = counter
    key0, key1 = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(_ROUNDS):
        product0, product1 = c0 * u64(_M0), c2 * u64(_M1)
        c0, c1, c2, c3 = (
            (product1 >> half) ^ c1 ^ u64(key0),
            product1 & low,
            (product0 >> half) ^ c3 ^ u64(key1),
            product0 & low,
        )
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return c0, c1, c2, c3
