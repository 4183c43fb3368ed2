"""Tokenizers of characters and of byte pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from nnlib.errors import (
    DataError,
    DataNotFoundError,
    FileFormatError,
    LabelError,
    NnlibError,
    OptionError,
    did_you_mean,
    missing_extra,
)
from nnlib.reading import in_words, parse_json, parsing, reading

__all__ = ["BPETokenizer", "CharTokenizer", "Ids", "Tokenizer", "tokenizer_from_json"]

Ids: TypeAlias = Sequence[int] | npt.NDArray[Any]
"""Numbers of tokens on the host, one axis."""

_CHARACTERS = "characters"  # marks a CharTokenizer's JSON


class Tokenizer(Protocol):
    """Base class of `CharTokenizer` and `BPETokenizer`."""

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Turn a text into the numbers of its tokens."""

    def decode(self, ids: Ids) -> str:
        """Turn numbers of tokens into a text."""

    def token_id(self, token: str) -> int:
        """Return the number of a token."""

    def to_json(self) -> str:
        """Return all of it as a text, for `tokenizer_from_json`."""


class CharTokenizer:
    """Every character is a token.

    Parameters
    ----------
    vocabulary : str
        The distinct characters; number ``i`` stands for ``vocabulary[i]``.

    Attributes
    ----------
    vocabulary : str

    Raises
    ------
    OptionError
        If the vocabulary is empty or has a character twice.

    Examples
    --------
    >>> letters = CharTokenizer("abc")
    >>> letters.encode("cab")
    array([2, 0, 1])
    >>> letters.decode([1, 0])
    'ba'
    >>> letters.vocab_size
    3
    """

    def __init__(self, vocabulary: str) -> None:
        if not vocabulary or len(set(vocabulary)) < len(vocabulary):
            raise OptionError(
                f"a vocabulary must have characters, each once. Received: {vocabulary!r}"
            )
        self.vocabulary = vocabulary

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """Take the characters of a text, in the order of their code points.

        Examples
        --------
        >>> CharTokenizer.from_text("tra la la")
        CharTokenizer(' alrt')
        """
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """How many characters there are."""
        return len(self.vocabulary)

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """The numbers in the order of their characters' code points, and these."""
        points = code_points(self.vocabulary)
        order = points.argsort().astype(np.int64)
        return order, points[order]

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Turn characters into numbers.

        Raises
        ------
        DataError
            If a character does not occur in the vocabulary.
        """
        (order, known), wanted = self._sorted, code_points(text)
        found = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        unknown = known[found] != wanted
        if unknown.any():
            raise DataError(
                f"every character must be one of the vocabulary's {len(known)}. "
                f"Received: {chr(wanted[unknown][0])!r} at position {unknown.argmax()}"
            )
        numbers: npt.NDArray[np.int64] = order[found]
        return numbers

    def decode(self, ids: Ids) -> str:
        """Turn numbers into characters.

        Raises
        ------
        LabelError
            If a number stands for no character.
        """
        return "".join(self.vocabulary[i] for i in _checked(ids, self.vocab_size))

    def token_id(self, token: str) -> int:
        """Return the number of a character.

        Raises
        ------
        OptionError
            If it is not in the vocabulary.

        Examples
        --------
        >>> CharTokenizer("abc").token_id("c")
        2
        """
        if len(token) != 1 or token not in self.vocabulary:
            raise OptionError(
                f"a token must be one of the {self.vocab_size} characters. Received: {token!r}"
            )
        return self.vocabulary.index(token)

    def to_json(self) -> str:
        """Return the vocabulary in a text, for `tokenizer_from_json`."""
        return json.dumps({"type": _CHARACTERS, "vocabulary": self.vocabulary})

    @classmethod
    def from_json(cls, text: str) -> CharTokenizer:
        """Read what `to_json` returned.

        Raises
        ------
        FileFormatError
            If it is something else.

        Examples
        --------
        >>> CharTokenizer.from_json(CharTokenizer("abc").to_json())
        CharTokenizer('abc')
        """
        content = _parsed(text)
        vocabulary: Any = content.get("vocabulary")
        known = content.get("type") == _CHARACTERS and isinstance(vocabulary, str)
        if not known or not len(set(vocabulary)) == len(vocabulary) > 0:
            raise FileFormatError(
                f"a CharTokenizer must be read from what its to_json gave. Received: {text[:60]!r}"
            )
        return cls(vocabulary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharTokenizer) and self.vocabulary == other.vocabulary

    def __hash__(self) -> int:
        return hash(self.vocabulary)

    def __repr__(self) -> str:
        return f"CharTokenizer({self.vocabulary!r})"


class BPETokenizer:
    """Byte-level byte pair encoding: any text in pieces, the frequent ones long.

    The initial tokens are bytes; the most frequent pair of neighbours becomes a token until there
    are enough (Sennrich et al., 2016; on bytes: Radford et al., 2019).  It encodes any text:
    ``decode(encode(text)) == text``.  Made by `train`, `from_file` or `from_json`; needs the extra
    ``text``, the ``tokenizers`` library.

    Examples
    --------
    >>> pieces = BPETokenizer.train(["low lower lowest"] * 9, vocab_size=270, special=["<s>"])
    >>> pieces.decode(pieces.encode("slow 字"))
    'slow 字'
    >>> pieces.vocab_size, pieces.token_id("<s>")
    (264, 0)
    >>> pieces.encode("<s> low").tolist()[0]
    0
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, special: Sequence[str] = ()
    ) -> BPETokenizer:
        """Count pairs in texts; the same texts give the same tokenizer.

        Parameters
        ----------
        texts : iterable of str
            Such as the lines of a file.  A single text is not one: give ``[text]``.
        vocab_size : int
            Number of tokens, including 256 bytes and the special ones.  Texts with few pairs
            give fewer.
        special : sequence of str
            Tokens that are never cut, such as ``"<s>"``; their numbers begin at 0.

        Raises
        ------
        OptionError
            If ``vocab_size`` is too small, or ``texts`` is a single text.
        MissingExtraError
            If the ``tokenizers`` library is not installed.
        """
        library = _library()
        least = 256 + len(special)
        if isinstance(texts, str) or vocab_size < least:
            raise OptionError(
                f"texts must be several texts, and vocab_size at least {least}: all bytes and the "
                f"special tokens. Received: {type(texts).__name__} and vocab_size={vocab_size}"
            )
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(special),
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        with _one_thread():
            tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BPETokenizer:
        """Read a published ``tokenizer.json``.

        Raises
        ------
        DataNotFoundError
            If there is no such file.
        DataError
            If it cannot be read.
        FileFormatError
            If it is something else.
        MissingExtraError
            If the ``tokenizers`` library is not installed.
        """
        with reading(path, DataNotFoundError, DataError) as file:
            content = file.read()
        with parsing(path, "a UTF-8 text", DataError):
            text = content.decode("utf-8")
        try:
            return cls.from_json(text)
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}") from error

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, special ones included."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def special(self) -> tuple[str, ...]:
        """Names of the special tokens.

        Examples
        --------
        >>> BPETokenizer.train(["a"], 258, special=["<s>", "</s>"]).special
        ('<s>', '</s>')
        """
        added = self._tokenizer.get_added_tokens_decoder()
        return tuple(added[i].content for i in sorted(added))

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Turn a text into numbers; the name of a special token in it becomes that token.

        Raises
        ------
        DataError
            If it is no text.
        """
        if isinstance(text, str):
            code_points(text)  # refuses lone surrogates
        with _typed("a text must be one that the tokenizer can cut", DataError):
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return np.array(ids, np.int64)

    def decode(self, ids: Ids, skip_special: bool = False) -> str:
        """Turn numbers into a text.

        Incomplete characters become "\N{REPLACEMENT CHARACTER}".

        Parameters
        ----------
        ids : sequence or array of integers, one axis
        skip_special : bool
            Leave out special tokens.

        Raises
        ------
        LabelError
            If a number stands for no token.
        """
        numbers = _checked(ids, self.vocab_size)
        with _typed("numbers must be those of tokens", DataError):
            text: str = self._tokenizer.decode(numbers, skip_special_tokens=skip_special)
        return text

    def token_id(self, token: str) -> int:
        """Return the number of a token, such as a special one.

        Raises
        ------
        OptionError
            If there is no such token.
        """
        number = self._tokenizer.token_to_id(token)
        if number is None:
            hint = did_you_mean(token, self.special)
            known = ", ".join(self.special) or "none"
            raise OptionError(
                f"a token must be in the vocabulary (special ones: {known}). "
                f"Received: {token!r}.{hint}"
            )
        return int(number)

    def to_json(self) -> str:
        """Return all of it as a text: the content of a ``tokenizer.json``."""
        text: str = self._tokenizer.to_str()
        return text

    @classmethod
    def from_json(cls, text: str) -> BPETokenizer:
        """Read what `to_json` returned, or the content of a ``tokenizer.json``.

        Raises
        ------
        FileFormatError
            If it is something else.
        MissingExtraError
            If the ``tokenizers`` library is not installed.

        Examples
        --------
        >>> pieces = BPETokenizer.train(["low lower lowest"], vocab_size=270)
        >>> BPETokenizer.from_json(pieces.to_json()).vocab_size == pieces.vocab_size
        True
        """
        library = _library()
        with _typed("a tokenizer must be in the tokenizers library's format", FileFormatError):
            tokenizer = library.Tokenizer.from_str(text)
            tokenizer.no_padding()  # published files may set a length
            tokenizer.no_truncation()
            return cls(tokenizer)

    def __repr__(self) -> str:
        return f"BPETokenizer({self.vocab_size} tokens, special: {', '.join(self.special) or '–'})"


def tokenizer_from_json(text: str) -> CharTokenizer | BPETokenizer:
    """Read what the ``to_json`` of either kind returned, such as a note in a weights file.

    Raises
    ------
    FileFormatError
        If it is something else.
    MissingExtraError
        If it is a `BPETokenizer` and the ``tokenizers`` library is not installed.

    Examples
    --------
    >>> tokenizer_from_json(CharTokenizer("abc").to_json())
    CharTokenizer('abc')
    """
    if _parsed(text).get("type") == _CHARACTERS:
        return CharTokenizer.from_json(text)
    return BPETokenizer.from_json(text)


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code point of every character.

    Raises
    ------
    DataError
        If the text has half a character (a lone surrogate).
    """
    try:
        return np.frombuffer(text.encode("utf-32-le"), np.uint32)
    except UnicodeEncodeError as error:
        raise DataError(f"a text must be valid Unicode. {error}") from error


def _checked(ids: Ids, count: int) -> list[int]:
    index = np.asarray(ids, dtype=np.int64)
    if index.size and (index.min() < 0 or index.max() >= count):
        raise LabelError(
            f"numbers must be in 0 … {count - 1}. Received: {index.min()} … {index.max()}"
        )
    numbers: list[int] = index.tolist()
    return numbers


def _parsed(text: str) -> dict[str, Any]:
    return parse_json(text, "a tokenizer", "kept as JSON")


@contextmanager
def _typed(kind: str, error: type[NnlibError]) -> Iterator[None]:
    """Convert errors of the tokenizers library, panics of Rust included, to a typed error."""
    try:
        yield
    except (NnlibError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as found:
        raise error(f"{kind}. Received: {in_words(found)}") from found


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise missing_extra("byte pair encoding needs the tokenizers library", "text") from error
    return tokenizers


@contextmanager
def _one_thread() -> Iterator[None]:
    """Turn off the library's threads: with them a later fork, as of a data loader, may hang."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
