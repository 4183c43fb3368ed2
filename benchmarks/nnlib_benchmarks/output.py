"""Files of a run: a folder that can be written, names by time, never a half-written file."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from nnlib.errors import OutputError


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder and prove that a file can be written into it, before anything is measured.

    Raises
    ------
    OutputError
        If it cannot be made or written; the text says why and how to choose another.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"the output folder must be writable. Received: {str(path)!r} "
            f"({error.strerror or error}). Choose another one with --out DIR."
        ) from error
    return path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under another name and rename it, so that it appears whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    data = content.encode("utf8") if isinstance(content, str) else content
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # a temporary file is private; a report is not
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {str(path)!r}: {error.strerror or error}. "
            "Free some space or choose another folder with --out DIR."
        ) from error


def run_name(folder: Path, now: datetime | None = None) -> str:
    """Name a run by its time (UTC), with a counter if two fall into one second.

    Examples
    --------
    >>> run_name(Path("nowhere"), datetime(2026, 5, 17, 9, 30, 5, tzinfo=UTC))
    '2026-05-17T093005Z'
    """
    stem = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H%M%SZ")
    name, count = stem, 1
    while (folder / f"{name}.json").exists():
        count += 1
        name = f"{stem}-{count}"
    return name
