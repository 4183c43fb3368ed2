"""Read files safely: open, unpack and parse them, with typed errors.

All readers of nnlib use these functions.  They allocate no more memory than a file can fill, and
convert the errors that damaged content causes in Python and NumPy into nnlib's own.
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
"""Errors of Python and NumPy about damaged content, without those of memory and devices."""

SPECIAL = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}
"""Types of files that are neither read nor replaced."""

_RATIO = 1032  # the largest compression ratio of DEFLATE
_UNCOUNTED = 1 << 26  # unpacked bytes that are allocated before they are counted
_CHUNK = 1 << 20


def special_kind(mode: int) -> str:
    """Describe the type of a special file; empty for a regular one.

    Examples
    --------
    >>> special_kind(os.stat(os.curdir).st_mode)
    'it is a folder'
    """
    return "" if stat.S_ISREG(mode) else SPECIAL.get(stat.S_IFMT(mode), "it is no regular file")


def check_name(path: str | os.PathLike[str]) -> None:
    r"""Raise an `OSError` for an invalid path, for which Python raises other errors.

    Examples
    --------
    >>> check_name("a\0b")
    Traceback (most recent call last):
    ...
    OSError: [Errno None] it is no file name
    """
    try:
        whole = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # a surrogate
        whole = False
    if not whole:
        raise OSError(None, "it is no file name")


@contextmanager
def reading(
    path: str | os.PathLike[str],
    missing: type[NnlibError] = InputNotFoundError,
    unreadable: type[NnlibError] = InputError,
) -> Iterator[BinaryIO]:
    """Open a regular file for reading, with typed errors.

    Parameters
    ----------
    path : path
    missing, unreadable : type, optional
        Types of the errors.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        If it cannot be read: a folder, a pipe or a device, no permission, or a broken disk.

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
        if kind:  # opening a pipe would wait for its other end
            raise OSError(None, kind)
        with open(path, "rb") as file:
            yield file
    except (NnlibError, gzip.BadGzipFile):  # OSErrors about the content
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
    """Convert errors about damaged content into a typed error.

    Parameters
    ----------
    source : path
        Source of the content, for the message.
    kind : str
        Expected content, such as ``"a learning curve"``.
    error : type
        Type of the error.

    Raises
    ------
    FileFormatError
        Or ``error``.  Errors of nnlib are not converted.

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
    """Raise a TypeError unless a value and its items have the given types; a bool is no int here.

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
    """Return an error's text in at most 200 characters, or its type if it has no text.

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
    """Parse a JSON object.

    Raises
    ------
    FileFormatError
        Or ``error``, if the content is no JSON object.

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
        Or ``error``, if the content is no JSON object.

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
    """Read the bytes of a file, unpacked if it is a gzip file, with a limit of their number.

    Parameters
    ----------
    file : file
        A regular file, open for reading.

    Attributes
    ----------
    packed : bool
        Whether it is a gzip file.
    most : int
        Upper bound of the number of bytes.
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
        """Return the next ``count`` bytes; fewer at the end."""
        data: bytes = self.stream.read(count)
        self._done += len(data)
        return data

    def rest(self, count: int) -> npt.NDArray[np.uint8]:
        """Return all remaining bytes, of which there must be ``count``.

        Raises
        ------
        ValueError
            If there are more or fewer; no more than ``count`` bytes are kept.
        """
        if self._done + count > self.most:
            raise ValueError(f"a file of {self._size()} bytes")
        if self.packed and count > _UNCOUNTED:
            self._count(count)
        data = np.empty(count, np.uint8)  # the system allocates memory as it is written
        view, position = data.data, 0
        while position < count:
            got = self.stream.readinto(view[position : position + _CHUNK])
            if not got:
                break
            position += got
        if position < count or self.read(1):
            raise ValueError(self._received(position, count))
        return data

    def _count(self, count: int) -> None:
        """Check the number of remaining bytes, and seek back."""
        position, done = self._done, 0
        while done <= count and (chunk := self.stream.read(_CHUNK)):
            done += len(chunk)
        if done != count:
            raise ValueError(self._received(done, count))
        self._begin()
        self.read(position)

    def _received(self, found: int, count: int) -> str:
        if not self.packed:
            return f"a file of {self._size()} bytes"
        return f"{'more' if found >= count else found} unpacked bytes"

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size
