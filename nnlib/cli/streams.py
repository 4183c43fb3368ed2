"""Standard streams that ignore errors of writing.

A training of hours must not end because a terminal was closed or the disk of a log is full.
Later output to stdout and stderr is dropped, and the program continues; the exit code is 1 if
output to stdout was lost.
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
    """Writes to another raw stream until that fails, and drops later output.

    Attributes
    ----------
    failure : OSError or None
        The first error.
    """

    def __init__(self, raw: Any) -> None:
        super().__init__()
        self._raw = raw  # None: closed from the start
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """Return true."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor of the other stream."""
        if self._raw is None:
            raise io.UnsupportedOperation("closed")
        number: int = self._raw.fileno()
        return number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._raw is not None and bool(self._raw.isatty())

    def write(self, data: Any) -> int:
        """Write as much as possible; return the full length."""
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
        done = 0
        while done < len(data):
            written = self._raw.write(data[done:])
            if written is None:  # a pipe that does not block is full
                select.select([], [self._raw], [])
            done += written or 0


@contextmanager
def standard_streams() -> Iterator[None]:
    """Ignore errors of writing to stdout and stderr inside a ``with`` block.

    A character outside their encoding is shown as "?".  Other kinds of streams, as of a test or a
    notebook, are not changed.
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
    """Open closed descriptors 0 to 2: another file could get the number and be overwritten."""
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
    """Return the raw stream below a text stream and its buffer, if there is one."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def lost() -> OSError | None:
    """Return the error of writing stdout; None if there was none, or the reader closed it."""
    failure = _failure()
    return None if isinstance(failure, BrokenPipeError) else failure


def gone() -> bool:
    """Whether stdout is closed, so that no more output is needed."""
    return _failure() is not None


def _failure() -> OSError | None:
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    return raw.failure if isinstance(raw, _Outlasting) else None
