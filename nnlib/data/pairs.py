"""Batches of pairs of sequences, such as texts and their translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nnlib.data.loader import DataLoader
from nnlib.data.parallel_text import ParallelText
from nnlib.errors import DataError, OptionError
from nnlib.random import Generator
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["PairDataset", "PairLoader"]

_Ids = npt.NDArray[np.int64]


class Encoder(Protocol):
    """The part of a tokenizer that a data set uses."""

    def encode(self, text: str) -> _Ids:
        """Turn a text into the numbers of its tokens."""


class PairDataset:
    """Pairs of sequences, padded to common lengths when they are read.

    Rows are ``(source, target_in, target_out)``: the source and its end token; the start token and
    the target; the target and its end token, so that ``target_out[t]`` follows ``target_in[t]``.

    Parameters
    ----------
    pairs : sequence of (source, target)
        Each a sequence of integers, without special tokens.
    padding, start, end : int
        The tokens that pad a row, begin a target, and end a sequence.
    multiple : int
        Rows are padded to a multiple of this number of tokens.

    Attributes
    ----------
    lengths : array of int64
        Padded length of each pair.

    Raises
    ------
    DataError
        If there is no pair.
    OptionError
        If ``multiple`` is not at least 1.

    Examples
    --------
    >>> for array in PairDataset([([5, 6], [7, 8, 9])], multiple=4)[[0]]:
    ...     print(array)
    [[5 6 2 0]]
    [[1 7 8 9]]
    [[7 8 9 2]]
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Sequence[int] | _Ids, Sequence[int] | _Ids]],
        padding: int = 0,
        start: int = 1,
        end: int = 2,
        multiple: int = 16,
    ) -> None:
        if multiple < 1:
            raise OptionError(f"multiple must be at least 1. Received: {multiple}")
        if len(pairs) == 0:
            raise DataError("a dataset must have pairs of sequences. Received: none")
        self.padding, self.start, self.end, self.multiple = padding, start, end, multiple
        self._pairs = [tuple(np.asarray(side, np.int64) for side in pair) for pair in pairs]
        longest = [1 + max(len(source), len(target)) for source, target in self._pairs]
        self.lengths: _Ids = -(-np.array(longest, np.int64) // multiple) * multiple

    @classmethod
    def of_text(
        cls, text: ParallelText, tokenizer: Encoder, longest: int | None = None, **options: int
    ) -> PairDataset:
        """Encode the pairs of a text.

        Parameters
        ----------
        text : ParallelText
        tokenizer : BPETokenizer or CharTokenizer
        longest : int, optional
            Leave out pairs with more tokens on a side, including the end token.
        **options
            Those of the class.

        Examples
        --------
        >>> from nnlib.data import CharTokenizer
        >>> text = ParallelText(("ab", "b"), ("aa", "abab"))
        >>> PairDataset.of_text(text, CharTokenizer("_^$ab"), longest=4)
        PairDataset(1 pairs of at most 16 tokens)
        """
        pairs = [
            (tokenizer.encode(source), tokenizer.encode(target))
            for source, target in zip(text.source, text.target, strict=True)
        ]
        most = float("inf") if longest is None else longest
        return cls([p for p in pairs if max(len(p[0]), len(p[1])) < most], **options)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: Any) -> tuple[Array, ...]:
        """Return the rows of some pairs; -1 is a row of padding."""
        index = np.asarray(index, np.int64)
        shape = (len(index), max(self.lengths[i] for i in index if i >= 0))
        rows = [np.full(shape, self.padding, np.int64) for _ in range(3)]
        for row, i in enumerate(index):
            if i >= 0:
                source, target = self._pairs[i]
                for array, parts in zip(
                    rows,
                    ((source, [self.end]), ([self.start], target), (target, [self.end])),
                    strict=True,
                ):
                    sequence = np.concatenate(parts)
                    array[row, : len(sequence)] = sequence
        return tuple(rows)

    def __repr__(self) -> str:
        return f"PairDataset({len(self)} pairs of at most {self.lengths.max()} tokens)"


class PairLoader(DataLoader):
    """Batches of pairs of similar lengths, in few different shapes.

    All pairs that are padded to one length, a multiple of ``dataset.multiple``, make batches of
    the same shape, ``max(1, tokens // length)`` rows; the last batch is filled with rows of
    padding.  So a compiled step is traced once for each length.  The loss must ignore padding:
    ``nn.CrossEntropyLoss(ignore_index=dataset.padding)``.

    Parameters
    ----------
    dataset : PairDataset
    tokens : int
        Size of a batch: rows × length of either side is at most this.
    shuffle : bool
        Shuffle the pairs of each length, then the batches, in each epoch.
    prefetch, backend, generator
        See `DataLoader`.

    Raises
    ------
    OptionError
        If ``tokens`` or ``prefetch`` is too small.

    Examples
    --------
    >>> pairs = PairDataset([([5, 6], [7]), ([5], [7, 8]), ([5] * 9, [7])], multiple=4)
    >>> for source, target_in, target_out in PairLoader(pairs, tokens=16):
    ...     print(source.shape, target_in.shape, target_out.shape)
    (4, 4) (4, 4) (4, 4)
    (1, 12) (1, 12) (1, 12)
    """

    dataset: PairDataset

    def __init__(
        self,
        dataset: PairDataset,
        tokens: int = 2048,
        shuffle: bool = False,
        *,
        prefetch: int = 0,
        backend: Backend | str | None = None,
        generator: Generator | None = None,
    ) -> None:
        if tokens < 1:
            raise OptionError(f"tokens must be at least 1. Received: {tokens}")
        self.tokens = tokens
        self._members = {
            int(length): np.flatnonzero(dataset.lengths == length)
            for length in np.unique(dataset.lengths)
        }
        super().__init__(
            dataset, shuffle=shuffle, prefetch=prefetch, backend=backend, generator=generator
        )
        self._one_by_one = False  # several rows of a PairDataset are one index

    def _size(self, length: int) -> int:
        return max(1, self.tokens // length)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return sum(-(-len(who) // self._size(length)) for length, who in self._members.items())

    def _order(self, epoch: int) -> Array:
        """Return the pairs of every batch, (batches, most rows), -1 where there is none."""
        stream = self._stream(epoch, 0)
        batches = np.full((len(self), max(map(self._size, self._members))), -1, np.int64)
        k = 0
        for length, members in self._members.items():
            rows = self._size(length)
            if self.shuffle:
                members = members[stream.permutation(len(members))]
            for first in range(0, len(members), rows):
                some = members[first : first + rows]
                batches[k, : len(some)] = some
                k += 1
        return batches[stream.permutation(len(batches))] if self.shuffle else batches

    def _arrays(self, order: Array, epoch: int, k: int) -> tuple[Array, ...]:
        length = int(self.dataset.lengths[order[k][0]])
        return self.dataset[order[k][: self._size(length)]]
