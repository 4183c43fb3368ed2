"""Results of training as files: texts and pictures, written atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlib.errors import missing_extra
from nnlib.io import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PathLike", "export_json", "export_text", "new_figure", "save_figure", "without_nan"]

PathLike = str | os.PathLike[str]


def export_text(text: str, path: PathLike | None) -> str:
    """Write a text as UTF-8 if a path is given, and return it."""
    if path is not None:
        with writing(path) as file:
            file.write(text.encode())
    return text


def export_json(values: Any, path: PathLike | None) -> str:
    r"""Write values as JSON text if a path is given, and return it; NaN and infinities are null.

    Examples
    --------
    >>> export_json({"loss": float("nan")}, None)
    '{\n "loss": null\n}\n'
    """
    return export_text(json.dumps(without_nan(values), indent=1, allow_nan=False) + "\n", path)


def without_nan(value: Any) -> Any:
    """Replace NaN and infinities in nested lists and dicts by None.

    Examples
    --------
    >>> without_nan([1.0, float("inf")])
    [1.0, None]
    """
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value


def new_figure(what: str, width: float, height: float) -> Figure:
    """Make a figure of so many inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed; ``what`` says what needs it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra(f"{what} needs matplotlib", "plot") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: PathLike | None) -> Figure:
    """Write a figure in the format of the path's ending, if one is given, and return it."""
    if path is not None:
        with writing(path) as file:
            figure.savefig(file, format=Path(path).suffix[1:] or "png", dpi=150)
    return figure
