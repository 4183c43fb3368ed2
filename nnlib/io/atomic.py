"""Write files atomically: whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nnlib.errors import NnlibError, OutputError
from nnlib.reading import check_name, special_kind

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

__all__ = ["check_writable", "make_folder", "writing"]

_PREFIX, _SUFFIX = ".nnlib-", ".tmp"  # of temporary files

_MISSING = "Make the folder first, or give another path"
_IN_THE_WAY = "Give another path: a file stands where a folder is needed"
_FORBIDDEN = "Give a path in a folder that you may write to, or change its permissions"
_FULL = "Free space there, or give a path on another disk"
_REMEDIES = {
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.ENOSPC: _FULL,
    getattr(errno, "EDQUOT", -1): _FULL,  # Windows has none
    errno.EFBIG: _FULL,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENAMETOOLONG: "Give a shorter name",
}


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, which replaces ``path`` at the end of the block.

    After an error or an interruption the temporary file is removed, and a file at ``path`` is not
    changed.  Temporary files of killed processes are removed when the next file is written into
    their folder.

    Parameters
    ----------
    path : path
        Symbolic links are followed.  A replaced file keeps its permissions; a new one has those of
        the process (``umask``).

    Raises
    ------
    OutputError
        If the folder or file cannot be written, or is a pipe, a socket or a device.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "note.bin")
    >>> with writing(path) as file:
    ...     _ = file.write(b"whole")
    >>> path.read_bytes()
    b'whole'
    """
    with _typed(path):
        old = _replaceable(path)
        target = Path(os.path.realpath(path))
        _remove_leftovers(target.parent)
        temporary, file = _temporary(target.parent, old)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave an empty file
                if fcntl is not None:
                    os.replace(temporary, target)  # while the file is still locked
            if fcntl is None:
                os.replace(temporary, target)
            _sync_folder(target.parent)
        finally:
            with suppress(OSError):  # it exists only after an error
                temporary.unlink()


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents, and check that files can be made in it.

    Raises
    ------
    OutputError
        If it cannot be made or written.

    Examples
    --------
    >>> import tempfile
    >>> make_folder(Path(tempfile.mkdtemp(), "run", "1")).is_dir()
    True
    """
    folder = Path(path)
    with _typed(path):
        check_name(path)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make the folder of a file, and check that the file can be written later.

    Raises
    ------
    OutputError
        If the folder cannot be made or written, or the file cannot be replaced.

    Examples
    --------
    >>> import tempfile
    >>> check_writable(Path(tempfile.mkdtemp(), "run", "history.csv"))
    """
    with _typed(path):
        _replaceable(path)
        make_folder(Path(path).parent)


@contextmanager
def _typed(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert an `OSError` into an error that says what to do."""
    try:
        yield
    except NnlibError:  # may be an OSError, too
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "Give another path")
        raise OutputError(f"{path!s} cannot be written: {reason}. {remedy}") from error


def _replaceable(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the status of the file to replace; refuse special files and read-only ones."""
    check_name(path)
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return None
    kind = special_kind(old.st_mode)
    if kind:
        raise OSError(None, kind)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    return old


def _temporary(folder: Path, old: os.stat_result | None) -> tuple[Path, BinaryIO]:
    """Make and lock a file that is not more readable than the old one."""
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        handle = os.open(path, _NEW, 0o666 if old is None else 0o600)
        file = os.fdopen(handle, "wb")
        try:
            if old is not None:
                _copy_permissions(handle, old)
            if _lock(handle) and path.exists():
                return path, file
        except BaseException:
            file.close()
            path.unlink()
            raise
        file.close()  # another process removed it as a leftover before it was locked


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def _copy_permissions(handle: int, old: os.stat_result) -> None:
    """Copy the owner and the permissions of an old file to an open one, as far as allowed."""
    if not hasattr(os, "fchown"):
        return
    with suppress(OSError):
        os.fchown(handle, old.st_uid, old.st_gid)
    mode = stat.S_IMODE(old.st_mode)
    if os.fstat(handle).st_gid != old.st_gid:  # another group has the rights of others only
        mode = mode & ~0o070 | (mode & 0o007) << 3
    with suppress(OSError):
        os.fchmod(handle, mode)


def _lock(handle: int) -> bool:
    """Lock a file while it is open; False if another process has locked it.

    True where files cannot be locked: there they are never removed as leftovers.
    """
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that no process has locked."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    _remove_leftover(Path(entry.path))


def _remove_leftover(path: Path) -> None:
    if fcntl is None:
        path.unlink()
        return
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Flush the folder's entry to the disk."""
    if os.name != "posix":
        return
    with suppress(OSError):  # not supported by all file systems
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
