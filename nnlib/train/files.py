"""Files of a training run: tried before it starts, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from nnlib.io import writing

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text, whole or not at all."""
    with writing(path) as file:
        file.write(text.encode())
