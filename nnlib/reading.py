"""Files from elsewhere: opened, measured, unpacked, understood, or refused by a typed error.

Every reader of the library is made of these parts, so that a damaged file is refused in the same
way everywhere: nothing is allocated that the file cannot fill, and what its content makes Python or
NumPy raise arrives as one of the library's own errors.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nnlib.errors import FileFormatError, InputError, InputNotFoundError, NnlibError

__all__ = [
    "Content",
    "check_name",
    "expect",
    "in_words",
    "parse_json",
    "parsing",
    "read_json",
    "reading",
    "special_kind",
]

DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RecursionError),
    *(TypeError, ValueError, gzip.BadGzipFile, struct.error, zlib.error),
)
"""What Python and NumPy raise at content that they cannot make sense of.

A lack of memory, or a device's failure, is none of the file's.
"""

SPECIAL = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}
"""Kinds of files that are neither read nor replaced."""

_RATIO = 1032  # DEFLATE packs no more bytes into one
_AT_ONCE = 1 << 26  # so many unpacked bytes are kept without having been counted before
_CHUNK = 1 << 20


def special_kind(mode: int) -> str:
    """Say in words what kind of special file a mode is of; empty for a regular one.

    Examples
    --------
    >>> special_kind(os.stat(os.curdir).st_mode)
    'it is a folder'
    """
    return "" if stat.S_ISREG(mode) else SPECIAL.get(stat.S_IFMT(mode), "it is no regular file")


def check_name(path: str | os.PathLike[str]) -> None:
    r"""Raise an `OSError` for a path that no file can have, where Python raises others.

    Examples
    --------
    >>> check_name("a\0b")
    Traceback (most recent call last):
    ...
    OSError: [Errno None] it is no file name
    """
    try:
        whole = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a character
        whole = False
    if not whole:
        raise OSError(None, "it is no file name")


@contextmanager
def reading(
    path: str | os.PathLike[str],
    missing: type[NnlibError] = InputNotFoundError,
    unreadable: type[NnlibError] = InputError,
) -> Iterator[BinaryIO]:
    """Give a regular file to read from; whatever the system refuses becomes a typed error.

    Parameters
    ----------
    path : path
    missing, unreadable : type, optional
        The errors to raise.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        If it cannot be read: it is a folder, a pipe or a device, or without permission, or the
        disk fails.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "note.txt")
    >>> _ = path.write_bytes(b"whole")
    >>> with reading(path) as file:
    ...     file.read()
    b'whole'
    """
    try:
        check_name(path)
        kind = special_kind(os.stat(path).st_mode)
        if kind:  # to open a pipe would wait for its other end
            raise OSError(None, kind)
        with open(path, "rb") as file:
            yield file
    except (NnlibError, gzip.BadGzipFile):  # some are OSErrors, but about the content
        raise
    except FileNotFoundError as error:
        raise missing(
            f"{path} must be an existing file. Received: none. Give the path of one"
        ) from error
    except OSError as error:
        raise unreadable(
            f"{path!s} cannot be read: {error.strerror or error}. "
            "Give the path of a file that you may read"
        ) from error


@contextmanager
def parsing(
    source: str | os.PathLike[str], kind: str, error: type[NnlibError] = FileFormatError
) -> Iterator[None]:
    """Turn what damaged content makes Python and NumPy raise into a typed error.

    Parameters
    ----------
    source : path
        Where the content is from, for the message.
    kind : str
        What it must be, such as ``"a learning curve"``.
    error : type
        The error to raise.

    Raises
    ------
    FileFormatError
        Or ``error``.  Errors of the library pass.

    Examples
    --------
    >>> with parsing("notes.json", "two numbers"):
    ...     a, b = json.loads("[1]")
    Traceback (most recent call last):
    ...
    nnlib.errors.FileFormatError: notes.json must be two numbers. Received: not enough values to \
unpack (expected 2, got 1). It may be damaged, or of another kind
    """
    try:
        yield
    except NnlibError:
        raise
    except DAMAGE as found:
        raise error(
            f"{source!s} must be {kind}. Received: {in_words(found)}. "
            "It may be damaged, or of another kind"
        ) from found


def expect(name: str, value: Any, kind: type, items: tuple[type, ...] = ()) -> None:
    """Raise a TypeError unless a value, and all that is in it, is of a kind; True is no int here.

    Examples
    --------
    >>> expect("seeds", [1, 2], list, (int,))
    >>> expect("seeds", [1, "2"], list, (int,))
    Traceback (most recent call last):
    ...
    TypeError: seeds [1, '2']
    """

    def fits(part: Any, kinds: tuple[type, ...]) -> bool:
        return isinstance(part, kinds) and (bool in kinds or not isinstance(part, bool))

    inside = value.values() if isinstance(value, dict) else value
    if not fits(value, (kind,)) or (items and not all(fits(part, items) for part in inside)):
        raise TypeError(f"{name} {value!r:.80}")


def in_words(error: BaseException) -> str:
    """Return an error's text in at most 200 characters; its kind, where the text does not tell.

    Examples
    --------
    >>> in_words(KeyError("width")), in_words(EOFError())
    ("no 'width'", 'EOFError')
    """
    text = str(error)
    if isinstance(error, KeyError):
        text = f"no {text}"
    return (text[:200] or type(error).__name__).rstrip(".")


def parse_json(
    content: str | bytes,
    source: str | os.PathLike[str],
    kind: str,
    error: type[NnlibError] = FileFormatError,
) -> dict[str, Any]:
    """Return a JSON object.

    Raises
    ------
    FileFormatError
        Or ``error``, if it is something else.

    Examples
    --------
    >>> parse_json('{"width": 8}', "notes.json", "a JSON object")
    {'width': 8}
    """
    with parsing(source, kind, error):
        value = json.loads(content)
    if not isinstance(value, dict):
        received = type(value).__name__
        raise error(f"{source!s} must be {kind}, a JSON object. Received: {received}")
    return value


def read_json(
    path: str | os.PathLike[str], kind: str, error: type[NnlibError] = FileFormatError
) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises
    ------
    InputError
        If the file cannot be read.
    FileFormatError
        Or ``error``, if it holds something else.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "notes.json")
    >>> _ = path.write_text('{"width": 8}')
    >>> read_json(path, "notes")
    {'width': 8}
    """
    with reading(path) as file:
        content = file.read()
    return parse_json(content, path, kind, error)


class Content:
    """The bytes of a file, unpacked if it is packed with gzip, in pieces of a known size.

    Parameters
    ----------
    file : file
        A regular one, open for reading.

    Attributes
    ----------
    packed : bool
    most : int
        More bytes cannot be in it.
    stream : file

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "note.gz")
    >>> _ = path.write_bytes(gzip.compress(b"whole"))
    >>> with reading(path) as file:
    ...     content = Content(file)
    ...     content.read(4), content.rest(1).tobytes()
    (b'whol', b'e')
    """

    def __init__(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        self._file = file
        self.packed = file.read(2) == b"\x1f\x8b"
        self.most = size * _RATIO if self.packed else size
        self._begin()

    def _begin(self) -> None:
        self._file.seek(0)
        self.stream: Any = gzip.GzipFile(fileobj=self._file) if self.packed else self._file
        self._done = 0

    def read(self, count: int) -> bytes:
        """Return the next few bytes; fewer at the end."""
        data: bytes = self.stream.read(count)
        self._done += len(data)
        return data

    def rest(self, count: int) -> npt.NDArray[np.uint8]:
        """Return all other bytes, of which there must be ``count``.

        Raises
        ------
        ValueError
            If there are more or fewer; without having kept what is too much.
        """
        if self._done + count > self.most:
            raise ValueError(f"a file of {self._size()} bytes")
        if self.packed and count > _AT_ONCE:
            self._count(count)
        data = np.empty(count, np.uint8)  # memory is taken as it is written
        view, place = data.data, 0
        while place < count:
            got = self.stream.readinto(view[place : place + _CHUNK])
            if not got:
                break
            place += got
        if place < count or self.read(1):
            raise ValueError(self._received(place, count))
        return data

    def _count(self, count: int) -> None:
        """Unpack the rest once for its length alone, and come back."""
        place, done = self._done, 0
        while done <= count and (chunk := self.stream.read(_CHUNK)):
            done += len(chunk)
        if done != count:
            raise ValueError(self._received(done, count))
        self._begin()
        self.read(place)

    def _received(self, found: int, count: int) -> str:
        if not self.packed:
            return f"a file of {self._size()} bytes"
        return f"{'more' if found >= count else found} unpacked bytes"

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size
