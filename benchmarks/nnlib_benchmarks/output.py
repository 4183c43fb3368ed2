"""Files of a run: checking the folder, names by time, atomic writes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from nnlib.errors import OutputError
from nnlib.io import make_folder, writing


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder and check before measuring that a file can be written into it.

    Raises
    ------
    OutputError
        If it cannot be made or written; the text has the reason and a remedy.
    """
    try:
        return make_folder(folder)
    except OutputError as error:
        raise OutputError(
            f"the output folder must be writable. {error}. Choose another one with --out DIR"
        ) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file atomically, by renaming.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with writing(path) as file:
        file.write(content.encode("utf8") if isinstance(content, str) else content)


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
