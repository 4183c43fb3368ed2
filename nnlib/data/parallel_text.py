"""Parallel texts: pairs of a text and its translation."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nnlib.data.text import read_text
from nnlib.errors import DataError, OptionError

__all__ = ["ParallelSplit", "ParallelText", "near_duplicates", "parallel_text"]


class ParallelSplit(NamedTuple):
    """Result of `ParallelText.split`.

    Attributes
    ----------
    train, validation, test : ParallelText
    removed : int
        Number of pairs left out of training because they repeat a held-out one.

    Examples
    --------
    >>> numbers = ParallelText(tuple("abcdefgh"), tuple("ABCDEFGH"))
    >>> parts = numbers.split(validation=1, test=2)
    >>> [len(part) for part in parts[:3]], parts.removed
    ([5, 1, 2], 0)
    """

    train: ParallelText
    validation: ParallelText
    test: ParallelText
    removed: int


@dataclass(frozen=True)
class ParallelText:
    """Texts and their translations.

    Attributes
    ----------
    source, target : tuple of str
        Of equal length.

    Examples
    --------
    >>> ParallelText(("one", "two"), ("uno", "dos"))
    ParallelText(2 pairs)
    """

    source: tuple[str, ...]
    target: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.source) != len(self.target):
            raise DataError(
                "every source must have one target. "
                f"Received: {len(self.source)} sources, {len(self.target)} targets"
            )

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Iterable[int]) -> ParallelText:
        """Return the pairs with these numbers.

        Examples
        --------
        >>> ParallelText(("one", "two"), ("uno", "dos")).take([1]).target
        ('dos',)
        """
        rows = list(rows)
        return ParallelText(
            tuple(self.source[i] for i in rows), tuple(self.target[i] for i in rows)
        )

    def split(self, validation: int, test: int, seed: int = 0) -> ParallelSplit:
        """Hold out random pairs, and remove their repetitions from training.

        A pair is left out if the words of its source, or of its target, are those of a pair that
        is held out, whatever their capitals, spaces and punctuation.

        Parameters
        ----------
        validation, test : int
            Numbers of pairs to hold out; the others, without repetitions, are for training.
        seed : int
            The same seed holds out the same pairs.

        Raises
        ------
        OptionError
            If no pair would be left for training.

        Examples
        --------
        >>> text = ParallelText(("a", "b", "B!", "c"), ("x", "y", "z", "w"))
        >>> text.split(0, 2, seed=3)
        ParallelSplit(train=ParallelText(1 pairs), validation=ParallelText(0 pairs), \
test=ParallelText(2 pairs), removed=1)
        """
        if min(validation, test) < 0 or validation + test >= len(self):
            raise OptionError(
                f"validation and test must leave some of the {len(self)} pairs for training. "
                f"Received: {validation} and {test}"
            )
        order = np.random.default_rng(seed).permutation(len(self)).tolist()
        held_out, rest = order[: validation + test], sorted(order[validation + test :])
        sources, targets = ([words(t) for t in side] for side in (self.source, self.target))
        taken = [{side[i] for i in held_out} for side in (sources, targets)]
        kept = [i for i in rest if sources[i] not in taken[0] and targets[i] not in taken[1]]
        return ParallelSplit(
            self.take(kept),
            self.take(held_out[:validation]),
            self.take(held_out[validation:]),
            len(rest) - len(kept),
        )

    def __repr__(self) -> str:
        return f"ParallelText({len(self)} pairs)"


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text, without capitals and punctuation.

    Examples
    --------
    >>> words("“ Jesus wept .”")
    ('jesus', 'wept')
    """
    return tuple("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def parallel_text(path: str | os.PathLike[str]) -> ParallelText:
    r"""Read a UTF-8 file of pairs, one a line: source, tab, target.

    Parameters
    ----------
    path : path
        The file; a relative path is also looked for in the folder ``NNLIB_DATA``.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataError
        If it cannot be read, is empty or not UTF-8, or a line is no pair.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "numbers.tsv")
    >>> _ = path.write_text("one\tuno\ntwo\tdos\n")
    >>> parallel_text(path).target
    ('uno', 'dos')
    """
    content = read_text(path)
    pairs = []
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        parts = tuple(part.strip() for part in line.split("\t"))
        if len(parts) != 2 or not all(parts):
            raise DataError(
                f"{path}, line {number}: every line must be a source, a tab and a target. "
                f"Received: {line!r:.80}"
            )
        pairs.append(parts)
    source, target = zip(*pairs, strict=True)
    return ParallelText(source, target)


def near_duplicates(text: ParallelText, others: ParallelText, share: float = 0.5) -> list[int]:
    """Find pairs that nearly repeat another text's.

    Parameters
    ----------
    text, others : ParallelText
    share : float
        In (0, 1]: least share of the groups of three words in either that occur in both.

    Returns
    -------
    list of int
        Numbers of the pairs of ``text`` of which source or target nearly repeats one of ``others``.

    Raises
    ------
    OptionError
        If ``share`` is out of range.

    Examples
    --------
    >>> text = ParallelText(("a b c d e", "f g h"), ("1", "2"))
    >>> near_duplicates(text, ParallelText(("x", "a b c d"), ("3", "4")))
    [0]
    """
    if not 0 < share <= 1:
        raise OptionError(f"share must be in (0, 1]. Received: {share}")
    found: set[int] = set()
    for own, foreign in ((text.source, others.source), (text.target, others.target)):
        groups = [_triples(t) for t in foreign]
        where: dict[tuple[str, ...], list[int]] = {}
        for number, group in enumerate(groups):
            for triple in group:
                where.setdefault(triple, []).append(number)
        for i, one in enumerate(own):
            mine = _triples(one)
            common = Counter(number for triple in mine for number in where.get(triple, ()))
            if any(n >= share * len(mine | groups[number]) for number, n in common.items()):
                found.add(i)
    return sorted(found)


def _triples(text: str) -> set[tuple[str, ...]]:
    """Return all groups of three words; a shorter text is one group."""
    all_words = words(text)
    return {all_words[i : i + 3] for i in range(max(1, len(all_words) - 2))}
