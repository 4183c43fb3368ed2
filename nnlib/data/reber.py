"""The embedded Reber grammar: strings whose last symbol but one depends on the second."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.data.dataset import ArrayDataset
from nnlib.errors import DataError, OptionError

__all__ = ["REBER_SYMBOLS", "embedded_reber", "reber_dataset", "reber_successors"]

REBER_SYMBOLS = "BTPSXVE"

_ARCS: tuple[dict[str, int], ...] = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
    {},
)
"""Node → symbol → next node of the Reber grammar; node 7 is the end."""

_END = 7


def embedded_reber(count: int, seed: int = 0, exclude: Collection[str] = ()) -> list[str]:
    """Draw strings of the embedded Reber grammar.

    Such a string is ``B``, then ``T`` or ``P``, then a string of the Reber grammar, then the same
    ``T`` or ``P`` again, then ``E``.  Reber strings themselves contain both, so that the second
    symbol has to be remembered for the whole of it: five symbols at least.  Where the grammar goes
    two ways, each is taken with probability ½.

    Parameters
    ----------
    count : int
        Number of strings; some occur more than once.
    seed : int
        The same strings for the same seed, always.
    exclude : collection of str
        Strings that are not drawn: the training strings, when drawing those for the test.

    Raises
    ------
    OptionError
        If ``count`` is not at least 1.

    Notes
    -----
    A. S. Reber, "Implicit learning of artificial grammars", Journal of Verbal Learning and Verbal
    Behavior 6 (1967); embedded by A. Cleeremans, D. Servan-Schreiber and J. L. McClelland, "Finite
    state automata and simple recurrent networks", Neural Computation 1 (1989).  It is experiment 1
    of S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997).

    Examples
    --------
    >>> for string in embedded_reber(4):
    ...     print(string)
    BPBPVVEPE
    BPBTSSSSSXXVPSEPE
    BPBTXSEPE
    BTBPTTTVPXTTTVVETE
    """
    if count < 1:
        raise OptionError(f"count must be at least 1. Received: {count}")
    rng, unwanted = np.random.default_rng(seed), set(exclude)
    strings: list[str] = []
    while len(strings) < count:
        outer = "T" if rng.random() < 0.5 else "P"
        string = f"B{outer}{_reber(rng)}{outer}E"
        if string not in unwanted:
            strings.append(string)
    return strings


def _reber(rng: np.random.Generator) -> str:
    node, string = 0, ""
    while node != _END:
        first, *second = _ARCS[node]
        symbol = second[0] if second and rng.random() < 0.5 else first
        string, node = string + symbol, _ARCS[node][symbol]
    return string


def _following(string: str) -> list[str]:
    """Symbols that may follow each one but the last of an embedded string."""
    outer, node, found = string[1:2], 0, ["B", "TP", "B"]
    for symbol in string[2:-2]:
        if symbol not in _ARCS[node]:
            break
        node = _ARCS[node][symbol]
        found.append(outer if node == _END else "".join(_ARCS[node]))
    found.append("E")
    if len(found) != len(string) or any(s not in f for s, f in zip(string, found, strict=True)):
        raise DataError(
            "every string must be one of the embedded Reber grammar, such as BTBTXSETE. "
            f"Received: {string!r}"
        )
    return found[1:]


def _longest(strings: Sequence[str], length: int | None) -> int:
    """Number of steps of the arrays: a string's last symbol has no successor."""
    longest = max(map(len, strings), default=1) - 1
    if not strings or (length is not None and length < longest):
        raise DataError(
            f"there must be strings, and length at least {longest}. "
            f"Received: {len(strings)} strings, length={length}"
        )
    return longest if length is None else length


def reber_dataset(strings: Sequence[str], length: int | None = None) -> ArrayDataset:
    """Turn strings into inputs and targets: the symbol that comes next, after every symbol.

    Parameters
    ----------
    strings : sequence of str
        From `embedded_reber`.
    length : int, optional
        Steps L of the arrays; those of the longest string if not given.

    Returns
    -------
    ArrayDataset
        Of the symbols but the last, one-hot in the order of `REBER_SYMBOLS`, float32 (N, L, 7);
        how many there are, int64 (N,); and the number of the next symbol, int64 (N, L), which is
        −100 after the end, so that `cross_entropy` does not count it.

    Raises
    ------
    DataError
        If there is no string, one is not of the grammar, or longer than ``length`` + 1.

    Examples
    --------
    >>> x, steps, following = reber_dataset(["BTBTXSETE"])[0]
    >>> "".join(REBER_SYMBOLS[i] for i in following), int(steps)
    ('TBTXSETE', 8)
    """
    longest = _longest(strings, length)
    x = np.zeros((len(strings), longest, len(REBER_SYMBOLS)), np.float32)
    target = np.full((len(strings), longest), -100, np.int64)
    for row, string in enumerate(strings):
        _following(string)  # raises for a string that is not of the grammar
        symbols = [REBER_SYMBOLS.index(symbol) for symbol in string]
        x[row, np.arange(len(string) - 1), symbols[:-1]] = 1
        target[row, : len(string) - 1] = symbols[1:]
    steps = np.array([len(string) - 1 for string in strings], np.int64)
    return ArrayDataset(x, steps, target)


def reber_successors(strings: Sequence[str], length: int | None = None) -> npt.NDArray[Any]:
    """Return the symbols that the grammar allows after every symbol.

    A network has learnt the grammar if at every step its outputs for these are larger than all its
    others.

    Parameters
    ----------
    strings, length
        See `reber_dataset`.

    Returns
    -------
    array of bool, (N, L, 7)
        False after the end.

    Raises
    ------
    DataError
        See `reber_dataset`.

    Examples
    --------
    >>> allowed = reber_successors(["BTBTXSETE"])[0]
    >>> ["".join(s for s, a in zip(REBER_SYMBOLS, row) if a) for row in allowed]
    ['TP', 'B', 'TP', 'SX', 'SX', 'E', 'T', 'E']
    """
    allowed = np.zeros((len(strings), _longest(strings, length), len(REBER_SYMBOLS)), bool)
    for row, string in enumerate(strings):
        for step, symbols in enumerate(_following(string)):
            allowed[row, step, [REBER_SYMBOLS.index(symbol) for symbol in symbols]] = True
    return allowed
