"""Files of a training run: tried before it starts, written whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nnlib.errors import OutputError
from nnlib.io import writing

__all__ = ["check_writable", "write_text"]


def check_writable(path: Path) -> None:
    """Make the folder of a file that will be written later, and try to write there.

    Raises
    ------
    OutputError
        If the folder cannot be made or written, or ``path`` is a folder itself.

    Examples
    --------
    >>> check_writable(Path(tempfile.mkdtemp(), "run", "history.csv"))
    """
    if path.is_dir():
        raise OutputError(f"{path} must be the name of a file. Received: a folder. Add a name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} must be in a folder that can be made and written. "
            f"Received: {error.strerror or error}. Give another path, or change the permissions"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text, whole or not at all."""
    with writing(path) as file:
        file.write(text.encode())
