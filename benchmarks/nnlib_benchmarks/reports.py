"""Writes a run's files: JSON first, for everything else is made from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nnlib.errors import MissingExtraError
from nnlib_benchmarks.output import run_name, write_atomically
from nnlib_benchmarks.records import Run
from nnlib_benchmarks.report_html import render_html
from nnlib_benchmarks.report_png import render_png
from nnlib_benchmarks.schema import from_json, to_json


def write_reports(run: Run, folder: Path, warn: Callable[[str], object]) -> list[Path]:
    """Write ``<time>.json``, ``.html`` and ``.png`` into a folder.

    Parameters
    ----------
    run : Run
        What was measured.
    folder : Path
        As `nnlib_benchmarks.output.prepare_folder` returned it.
    warn : callable
        Is told, with the pip command, if the picture cannot be drawn.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OutputError
        If one cannot be written.
    """
    stem = folder / run_name(folder)
    text = to_json(run)
    written = from_json(text, str(stem))  # the page shows what the file says, not what we remember
    paths = [stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".html")]
    write_atomically(paths[0], text)
    write_atomically(paths[1], render_html(written))
    try:
        picture = render_png(written)
    except MissingExtraError as error:
        warn(f"no PNG: {error}")
    else:
        paths.append(stem.with_name(stem.name + ".png"))
        write_atomically(paths[-1], picture)
    return paths
