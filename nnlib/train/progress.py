"""Progress of training on stderr: a bar on a terminal, one line an epoch elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

__all__ = ["Progress", "epoch_line", "make_progress"]

_WHOEVER_READS = suppress(OSError, ValueError)
"""Training continues if the pipe is closed, the disk of a log is full, or stderr was closed."""


class Progress:
    """Shows nothing; the base class of the others."""

    def begin(self, epochs: int, unit: str = "epoch") -> None:
        """A run begins, of that many epochs or other units of steps."""

    def begin_epoch(self, epoch: int, steps: int | None, done: int = 0) -> None:
        """An epoch begins; the number of its steps is known for most loaders."""

    def advance(self) -> None:
        """A step is done."""

    def show(self, loss: float) -> None:
        """The loss was read."""

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """An epoch is over, validation included."""

    def note(self, text: str) -> None:
        """Print a permanent line."""

    def end(self) -> None:
        """The run is over, also by an exception."""


class PlainProgress(Progress):
    """One line an epoch, for logs and pipes."""

    def begin(self, epochs: int, unit: str = "epoch") -> None:
        """Store the number of epochs."""
        self.epochs = epochs

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """Print the line."""
        self.note(epoch_line(logs, self.epochs))

    def note(self, text: str) -> None:
        """Print a line."""
        if sys.stderr is not None:
            with _WHOEVER_READS:
                print(text, file=sys.stderr, flush=True)


class RichProgress(Progress):
    """A bar for the current epoch, below one line for each finished one."""

    def begin(self, epochs: int, unit: str = "epoch") -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        class Patient(Console):
            def on_broken_pipe(self) -> None:  # rich would end the program
                self.quiet = True

        self.epochs, self.unit = epochs, unit
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[loss]}"),
            console=Patient(stderr=True),
            transient=True,
        )
        self._task = self._bars.add_task("", loss="")
        with _WHOEVER_READS:
            self._bars.start()

    def begin_epoch(self, epoch: int, steps: int | None, done: int = 0) -> None:
        """Start the bar again."""
        with _WHOEVER_READS:
            self._bars.reset(
                self._task,
                description=f"{self.unit} {epoch}/{self.epochs}",
                total=steps,
                completed=done,
                loss="",
            )

    def advance(self) -> None:
        """Move the bar."""
        with _WHOEVER_READS:
            self._bars.advance(self._task)

    def show(self, loss: float) -> None:
        """Write the loss beside the bar."""
        with _WHOEVER_READS:
            self._bars.update(self._task, loss=f"loss {loss:.4f}")

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """Leave a line."""
        self.note(epoch_line(logs, self.epochs))

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        with _WHOEVER_READS:
            self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end(self) -> None:
        """Remove the bar."""
        with _WHOEVER_READS:
            self._bars.stop()


def make_progress(show: bool = True) -> Progress:
    """Choose the form that fits stderr: a bar on a terminal, lines elsewhere."""
    if not show or sys.stderr is None or sys.stderr.closed:
        return Progress()
    return RichProgress() if sys.stderr.isatty() else PlainProgress()


def epoch_line(logs: Mapping[str, Any], epochs: int) -> str:
    """One epoch in a line.

    Examples
    --------
    >>> epoch_line({"epoch": 3, "loss": 0.51234, "val_accuracy": 0.98, "lr": 1e-3,
    ...             "seconds": 2.0, "val_seconds": 0.5}, 20)
    'epoch  3/20  loss 0.5123  val_accuracy 0.9800  lr 0.001  2.5 s'
    """
    seconds = logs.get("seconds", 0.0) + logs.get("val_seconds", 0.0)
    parts = [f"epoch {logs['epoch']:{len(str(epochs))}}/{epochs}"]
    for name, value in logs.items():
        if name == "lr":
            parts.append(f"lr {value:.3g}")
        elif name not in {"epoch", "seconds", "val_seconds"}:
            small = 0 < abs(value) < 1e-3
            parts.append(f"{name} {value:.3e}" if small else f"{name} {value:.4f}")
    return "  ".join([*parts, f"{seconds:.1f} s"])
