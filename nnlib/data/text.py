"""A text as a sequence of character numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnlib.errors import DataError, DataNotFoundError, OptionError
from nnlib.reading import reading
from nnlib.text.tokenizers import CharTokenizer, Ids, code_points
from nnlib_backends.config import DATA

__all__ = ["CharacterText", "text"]


@dataclass(frozen=True, eq=False)  # comparing arrays gives no single truth value
class CharacterText:
    """A text whose characters are numbered in the order of their code points.

    Attributes
    ----------
    vocabulary : str
        The distinct characters; number ``i`` stands for ``vocabulary[i]``.
    train, validation : array of int64
        The numbers of the text's first and last part.

    Examples
    --------
    >>> song = CharacterText("abc", np.array([0, 1, 2]), np.array([1]))
    >>> song.decode(song.train)
    'abc'
    >>> song.encode("cab")
    array([2, 0, 1])
    """

    vocabulary: str
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]

    @cached_property
    def tokenizer(self) -> CharTokenizer:
        """The tokenizer of this vocabulary."""
        return CharTokenizer(self.vocabulary)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Turn characters into numbers, see `CharTokenizer.encode`."""
        return self.tokenizer.encode(text)

    def decode(self, numbers: Ids) -> str:
        """Turn numbers (on the host, one axis) into characters, see `CharTokenizer.decode`."""
        return self.tokenizer.decode(numbers)

    def __repr__(self) -> str:
        return (
            f"CharacterText({len(self.train)} + {len(self.validation)} characters, "
            f"{len(self.vocabulary)} distinct)"
        )


def text(path: str | os.PathLike[str], *, validation: float = 0.1) -> CharacterText:
    """Read a UTF-8 text file for training on its characters.

    Parameters
    ----------
    path : path
        The file; a relative path is also looked for in the folder ``NNLIB_DATA``.
    validation : float
        The share of the text, in [0, 1), for validation: its end.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    DataError
        If it cannot be read, is empty or not UTF-8.
    OptionError
        If ``validation`` is out of range.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "song.txt")
    >>> _ = path.write_text("tra la la lalala laa")
    >>> song = text(path)
    >>> song
    CharacterText(18 + 2 characters, 5 distinct)
    >>> song.encode("lala")
    array([2, 1, 2, 1])
    >>> song.decode(song.validation)
    'aa'
    """
    if not 0 <= validation < 1:
        raise OptionError(f"validation must be in [0, 1). Received: {validation}")
    content = read_text(path)
    known, numbers = np.unique(code_points(content), return_inverse=True)
    cut = len(numbers) - round(len(numbers) * validation)
    numbers = numbers.astype(np.int64)
    return CharacterText("".join(map(chr, known.tolist())), numbers[:cut], numbers[cut:])


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the content of a UTF-8 file, which may lie in the folder ``NNLIB_DATA``."""
    candidates = dict.fromkeys([Path(path), Path(DATA.get(), path)])
    for candidate in candidates:
        try:
            with reading(candidate, DataNotFoundError, DataError) as file:
                content = file.read()
        except DataNotFoundError:
            continue
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{candidate} must be UTF-8 text. Received: byte "
                f"0x{error.object[error.start]:02x} at position {error.start}. "
                "Convert it first, e.g. with iconv"
            ) from error
        if not text:
            raise DataError(f"{candidate} must hold text. Received: an empty file")
        return text
    raise DataNotFoundError(
        f"a text file must exist. Looked for: {', '.join(map(str, candidates))}. "
        f"Give its full path, or set {DATA.name} to its folder"
    )
