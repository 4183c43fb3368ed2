"""Opening files that should be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from nnlib.errors import InputError, InputNotFoundError

__all__ = ["reading"]


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to read from; whatever the system refuses becomes a typed error.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        If it cannot be read: it is a folder, or without permission, or the disk fails.

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
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"{path} must be an existing file. Received: none. Give the path of one"
        ) from error
    except OSError as error:
        reason = "it is a folder" if os.path.isdir(path) else error.strerror or str(error)
        raise InputError(
            f"{path} cannot be read: {reason}. Give the path of a file that you may read"
        ) from error
