"""Writes a run's files: first the JSON, then page and picture from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nnlib.errors import MissingExtraError
from nnlib_benchmarks.output import run_name, write_atomically
from nnlib_benchmarks.records import Run
from nnlib_benchmarks.report_html import render_html
from nnlib_benchmarks.report_png import render_png
from nnlib_benchmarks.schema import load_run, to_json


class Reports:
    """Writes ``<time>.json``, ``.html`` and ``.png`` of one run into a folder.

    Parameters
    ----------
    folder : Path
        As `nnlib_benchmarks.output.prepare_folder` returned it.
    """

    def __init__(self, folder: Path) -> None:
        self._stem = folder / run_name(folder)

    def write_json(self, run: Run) -> Path:
        """Write the JSON file; an unfinished run may be written repeatedly.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        path = with_ending(self._stem, ".json")
        write_atomically(path, to_json(run))
        return path

    def write(self, run: Run, warn: Callable[[str], object]) -> list[Path]:
        """Write everything; return the files.

        Parameters
        ----------
        run : Run
            The measurements.
        warn : callable
            Called with a message and the pip command if the picture cannot be drawn.

        Raises
        ------
        OutputError
            If one cannot be written.
        """
        path = self.write_json(run)
        written = load_run(path)  # the page shows the content of the file
        return [path, *write_page_and_picture(written, self._stem, warn)]


def write_page_and_picture(run: Run, stem: Path, warn: Callable[[str], object]) -> list[Path]:
    """Write ``<stem>.html`` and ``<stem>.png``; see `Reports.write`."""
    paths = [with_ending(stem, ".html")]
    write_atomically(paths[0], render_html(run))
    try:
        picture = render_png(run)
    except MissingExtraError as error:
        warn(f"no PNG: {error}")
    else:
        paths.append(with_ending(stem, ".png"))
        write_atomically(paths[-1], picture)
    return paths


def with_ending(stem: Path, ending: str) -> Path:
    """Add an ending to a name, which may contain dots.

    Examples
    --------
    >>> with_ending(Path("2026-01-02-v1.5"), ".png").name
    '2026-01-02-v1.5.png'
    """
    return stem.with_name(stem.name + ending)
