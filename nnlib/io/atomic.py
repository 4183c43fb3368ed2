"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nnlib.errors import OutputError

__all__ = ["writing"]

_MISSING = "Make the folder first, or give another path"
_FORBIDDEN = "Give a path in a folder that you may write to, or change its permissions"
_FULL = "Free space there, or give a path on another disk"
_REMEDIES = {
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.ENOSPC: _FULL,
    getattr(errno, "EDQUOT", -1): _FULL,  # Windows has none
    errno.EFBIG: _FULL,
}


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes the place of ``path`` once it is complete.

    It is a temporary file in the same folder until then.  When the block is left by an error or an
    interruption, it is removed, and a file that was at ``path`` is as it was.

    Parameters
    ----------
    path : path
        A symbolic link is followed, so that the file behind it is replaced.

    Raises
    ------
    OutputError
        If the folder or file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "note.bin")
    >>> with writing(path) as file:
    ...     _ = file.write(b"whole")
    >>> path.read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".nnlib-{secrets.token_hex(8)}.tmp")
    try:
        _check_target(target)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves a new name for an empty file
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "Give another path")
        raise OutputError(f"{path} cannot be written: {reason}. {remedy}") from error
    finally:
        with suppress(OSError):  # it is there only if something went wrong
            temporary.unlink()


def _check_target(target: Path) -> None:
    """Refuse what replacing would not: a folder's name, and a file marked read-only."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
