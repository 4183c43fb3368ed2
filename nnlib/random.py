"""Random numbers from a counter-based generator, the same on every backend.

The state of a generator is (seed, offset), which a checkpoint can save.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from nnlib.errors import OptionError, StateError
from nnlib.tracing import current, repeated, scalar_inputs
from nnlib_backends import Backend, get_backend, load_backend
from nnlib_backends.base import Array
from nnlib_backends.common.philox import limit, philox4x32
from nnlib_backends.locks import drawing

__all__ = ["Generator", "default_generator", "manual_seed"]

_BLOCK = 1 << 15  # pairs of normal numbers that are computed together


class Generator:
    """A position in the Philox4x32-10 stream of a seed.

    A copy, also by pickle, is an independent generator at the same position.

    Parameters
    ----------
    seed : int, optional
        From the operating system's entropy if not given.

    Raises
    ------
    OptionError
        If the seed is negative or needs more than 64 bits.

    Examples
    --------
    >>> Generator(0).uniform((2,), backend="numpy")
    array([0.39904642, 0.88052016], dtype=float32)
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed(int.from_bytes(os.urandom(8), "little") if seed is None else seed)

    def seed(self, seed: int) -> None:
        """Start the stream of a seed (0 … 2**64 − 1)."""
        if not 0 <= seed < 2**64:
            raise OptionError(f"seed must be in 0 … 2**64 - 1. Received: {seed}")
        with drawing:
            self._seed, self._offset = int(seed), 0
        _note_unrepeatable("a random stream is started anew")

    def state_dict(self) -> dict[str, int]:
        """Return seed and offset."""
        seed, offset = self._take(0)
        return {"seed": seed, "offset": offset}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Load the result of `state_dict`.

        Raises
        ------
        StateError
            If it is not a valid position.
        """
        whole = set(state) == {"seed", "offset"} and all(isinstance(n, int) for n in state.values())
        if not whole or not (0 <= state["seed"] < 2**64 and 0 <= state["offset"] < 2**63):
            raise StateError(
                "the state of a generator must be two integers, seed (0 … 2**64 - 1) and "
                f"offset (0 … 2**63 - 1). Received: {state!r:.200}"
            )
        with drawing:
            self._seed, self._offset = state["seed"], state["offset"]
        _note_unrepeatable("the state of a random stream is loaded")

    def bits(self, count: int, backend: Backend | str | None = None) -> Array:
        """Return ``count`` random uint32 words."""
        return self._drawn(count, backend, philox4x32, count)

    def reserve(self, count: int, backend: Backend | str | None = None) -> Array:
        """Skip ``count`` words, which an operation such as `nnlib.ops.dropout` draws itself.

        Returns
        -------
        array of int64, shape (2,)
            The seed (its bits as a signed number), and the offset of the words.
        """
        target = get_backend() if backend is None else load_backend(backend)
        tracing = current()
        if tracing is not None:
            tracing.note_stream(self)
        return scalar_inputs(
            target.xp.empty((2,), dtype="int64"), self._reserved, count, dtype="int64"
        )

    def _reserved(self, count: int) -> tuple[int, int]:
        """Skip ``count`` words; return the seed as a signed number, and their offset."""
        seed, offset = self._take(count)
        return (seed - 2**64 if seed >= 2**63 else seed), offset

    def _take(self, count: int) -> tuple[int, int]:
        """Skip ``count`` words; return the seed and their offset."""
        with drawing:
            taken = self._seed, self._offset
            self._offset += -(-count // 4)
        return taken

    def _drawn(
        self, count: int, backend: Backend | str | None, make: Callable[..., Array], *args: Any
    ) -> Array:
        """Return ``make(xp, seed, offset, *args)``, which uses ``count`` words.

        In a trace seed and offset are a scalar input, so that each replay draws new numbers.
        """
        target = get_backend() if backend is None else load_backend(backend)
        tracing = current()
        if tracing is None or tracing.backend is not target:
            return make(target.xp, *self._take(count), *args)
        key = self.reserve(count, target)
        array: Array = repeated(_made_from_key, make, target.xp, key, *args)
        return array

    def uniform(
        self,
        shape: tuple[int, ...],
        low: float = 0.0,
        high: float = 1.0,
        *,
        dtype: Any = "float32",
        backend: Backend | str | None = None,
    ) -> Array:
        """Uniform numbers in [low, high), multiples of 2**-24 of the range.

        Rounding to the dtype can give ``high``, except for float32 and float64 in [0, 1).
        """
        return self._drawn(math.prod(shape), backend, _uniform, shape, low, high, dtype)

    def normal(
        self,
        shape: tuple[int, ...],
        mean: float = 0.0,
        std: float = 1.0,
        *,
        dtype: Any = "float32",
        backend: Backend | str | None = None,
    ) -> Array:
        """Normal numbers by the Box-Muller transform (1958), computed in float32.

        A CPU computes block by block, so that temporaries fit into the cache, a GPU many blocks at
        a time; the numbers are the same.
        """
        words = -(-math.prod(shape) // 2) * 2
        return self._drawn(words, backend, _normal, shape, mean, std, dtype)

    def bernoulli(
        self, shape: tuple[int, ...], p: float, *, backend: Backend | str | None = None
    ) -> Array:
        """Booleans, true with probability ``p`` (resolution 2**-32)."""
        words = self.bits(math.prod(shape), backend).reshape(shape)
        return words < limit(p) if p < 1 else words >= 0

    def integers(self, low: int, high: int, size: tuple[int, ...] | int) -> Array:
        """Integers in [low, high) as an int64 array on the host, for indices."""
        shape = (size,) if isinstance(size, int) else size
        if not low < high:
            raise OptionError(f"low must be less than high. Received: {low}, {high}")
        words = self._on_host(2 * math.prod(shape)).reshape(2, -1).astype("uint64")
        # 64 random bits: the remainder's bias is below 2**-32 for any range under 2**32
        return ((words[0] << 32 | words[1]) % (high - low)).astype("int64").reshape(shape) + low

    def permutation(self, n: int) -> Array:
        """Permutation of 0 … n − 1 as an int64 array on the host, by sorting 64-bit keys."""
        words = self._on_host(2 * n).reshape(2, n).astype("uint64")
        return (words[0] << 32 | words[1]).argsort(kind="stable")

    def _on_host(self, count: int) -> Array:
        """Return ``count`` words on the host, which are part of no trace."""
        _note_unrepeatable("random numbers are drawn for the host")
        return philox4x32(load_backend("numpy").xp, *self._take(count), count)

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed}, offset={self._offset})"


def _note_unrepeatable(what: str) -> None:
    """Note in a trace an action that a replay would not repeat."""
    tracing = current()
    if tracing is not None:
        tracing.note_unrepeatable(what)


def _made_from_key(make: Callable[..., Array], xp: Any, key: Array, *args: Any) -> Array:
    """Call ``make`` with the seed and the offset of a key, which may be on a device."""
    words = key.astype(xp.uint64)
    return make(xp, words[:1], words[1:], *args)


def _uniform(
    xp: Any, seed: Any, offset: Any, shape: tuple[int, ...], low: float, high: float, dtype: Any
) -> Array:
    unit = philox4x32(xp, seed, offset, math.prod(shape)) >> 8
    narrow = xp.dtype(dtype).itemsize < 4  # cannot hold 24 bits: rounded at the end
    values = unit.astype("float32" if narrow else dtype)
    values *= (high - low) * 2.0**-24
    if low:
        values += low
    return (values.astype(dtype) if narrow else values).reshape(shape)


def _normal(
    xp: Any, seed: Any, offset: Any, shape: tuple[int, ...], mean: float, std: float, dtype: Any
) -> Array:
    count = math.prod(shape)
    pairs = -(-count // 2)
    values = xp.empty((2 * pairs,), dtype=dtype)
    start, most = 0, max(1, 2 * getattr(xp, "philox_chunk", 0) // _BLOCK)
    while start < pairs:
        blocks = min(most, (pairs - start) // _BLOCK) or 1  # the last one may be shorter
        size = min(_BLOCK, pairs - start)
        n = blocks * size
        words = philox4x32(xp, seed, offset + start // 2, 2 * n).reshape(blocks, 2, size)
        # in (0, 1], which avoids log(0)
        u = ((words[:, 0] >> 8).astype(xp.float32) + 1.0) * 2.0**-24
        angle = (words[:, 1] >> 8).astype(xp.float32) * (2 * math.pi * 2.0**-24)
        radius = xp.sqrt(xp.log(u) * -2.0)
        target = values[2 * start : 2 * (start + n)].reshape(blocks, 2, size)
        target[:, 0] = radius * xp.cos(angle)
        target[:, 1] = radius * xp.sin(angle)
        start += n
    values = values[:count]
    if std != 1.0:
        values *= std
    if mean:
        values += mean
    return values.reshape(shape)


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it.

    Parameters
    ----------
    seed : int
        In 0 … 2**64 − 1.

    Examples
    --------
    >>> manual_seed(42)
    Generator(seed=42, offset=0)
    """
    default_generator.seed(seed)
    return default_generator
