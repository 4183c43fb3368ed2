"""Progress on stderr: a rich bar on a terminal, one plain line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Interface of the harness's progress."""

    def stage(self, title: str, total: int) -> None:
        """Begin a stage of `total` units."""

    def advance(self, units: int = 1) -> None:
        """Advance the stage by `units`."""

    def note(self, text: str) -> None:
        """Print a permanent line."""


class SilentProgress:
    """Shows nothing."""

    def stage(self, title: str, total: int) -> None:
        """Do nothing."""

    def advance(self, units: int = 1) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class PlainProgress:
    """One line a stage, for logs and pipes.

    Examples
    --------
    >>> progress = PlainProgress(write=print)
    >>> progress.stage("lenet", 10)
    [   0 s] lenet
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or (lambda text: print(text, file=sys.stderr, flush=True))
        self._begin = time.monotonic()

    def stage(self, title: str, total: int) -> None:
        """Print the title."""
        self._write(f"[{time.monotonic() - self._begin:4.0f} s] {title}")

    def advance(self, units: int = 1) -> None:
        """Do nothing: logs have no bars."""

    def note(self, text: str) -> None:
        """Print the text."""
        self._write(text)


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Progress]:
    """Choose the form that fits stderr: a bar on a terminal, lines elsewhere."""
    if quiet:
        yield SilentProgress()
    elif not sys.stderr.isatty():
        yield PlainProgress()
    else:
        with _rich_progress() as progress:
            yield progress


@contextmanager
def _rich_progress() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:

        class RichProgress:
            task = None

            def stage(self, title: str, total: int) -> None:
                if self.task is not None:  # a finished stage stays, filled
                    bars.update(self.task, completed=bars.tasks[self.task].total)
                self.task = bars.add_task(title, total=total)

            def advance(self, units: int = 1) -> None:
                if self.task is not None:
                    bars.advance(self.task, units)

            def note(self, text: str) -> None:
                bars.console.print(text, highlight=False, markup=False)

        yield RichProgress()
