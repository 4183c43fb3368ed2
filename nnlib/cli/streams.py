"""Standard streams that outlast their readers.

A training of hours must not end because a terminal was closed or a log's disk is full.  What is
written to stdout and stderr after that goes nowhere, and the work goes on; the exit code says
whether what should have been on stdout is there.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["gone", "lost", "standard_streams"]


class _Outlasting(io.RawIOBase):
    """Writes to another raw stream until that fails, and then nowhere.

    Attributes
    ----------
    failure : OSError or None
        What the first failure was.
    """

    def __init__(self, raw: Any) -> None:
        super().__init__()
        self._raw = raw  # None: closed from the start
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """Return true."""
        return True

    def fileno(self) -> int:
        """Return the other stream's number."""
        if self._raw is None:
            raise io.UnsupportedOperation("closed")
        number: int = self._raw.fileno()
        return number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._raw is not None and bool(self._raw.isatty())

    def write(self, data: Any) -> int:
        """Write what can be written, and say that all was."""
        data = memoryview(data).cast("B")
        if self.failure is None:
            try:
                self._write_all(data)
            except OSError as error:
                self.failure = error
        return len(data)

    def _write_all(self, data: memoryview) -> None:
        if self._raw is None:
            raise OSError(errno.EBADF, "it is closed")
        place = 0
        while place < len(data):
            written = self._raw.write(data[place:])
            if written is None:  # a pipe that does not block is full
                select.select([], [self._raw], [])
            place += written or 0


@contextmanager
def standard_streams() -> Iterator[None]:
    """Let stdout and stderr outlast their readers inside a ``with`` block.

    A character that their encoding has not is shown as "?".  Streams of other kinds, as of a test
    or a notebook, are left as they are.
    """
    _open_all()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _outlasting(sys.stdout), _outlasting(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _open_all() -> None:
    """Open what is closed: the next file would get its number, and be written by mistake."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _outlasting(stream: Any) -> Any:
    raw = _raw(stream)
    if stream is not None and not isinstance(raw, io.RawIOBase):
        return stream
    if stream is not None:
        stream.flush()
    bare = raw is not None and raw is stream.buffer  # PYTHONUNBUFFERED
    lasting: Any = _Outlasting(raw)
    return io.TextIOWrapper(
        lasting if bare else io.BufferedWriter(lasting),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="replace",
        line_buffering=getattr(stream, "line_buffering", True),
        write_through=bare,
    )


def _raw(stream: Any) -> Any:
    """Return what is below a text stream and its buffer, if it has one."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def lost() -> OSError | None:
    """Return why stdout could not be written; None if it was, or its reader had seen enough."""
    failure = _failure()
    return None if isinstance(failure, BrokenPipeError) else failure


def gone() -> bool:
    """Whether nobody reads stdout any more, so that more of it need not be made."""
    return _failure() is not None


def _failure() -> OSError | None:
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    return raw.failure if isinstance(raw, _Outlasting) else None
