"""The history of a training run: a dict of values for each epoch, and the loss of every step."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nnlib.errors import OptionError
from nnlib.reading import expect, parsing
from nnlib.train.export import PathLike, export_json, export_text, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]

_VALUES = (int, float, bool, str, type(None))  # types in an epoch's dict


@dataclass
class History:
    """Losses, metrics and times of a training run.

    Attributes
    ----------
    epochs : list of dict
        One for each epoch: ``epoch`` (from 1), ``loss`` and the metrics of all training batches
        together while the model was learning, ``val_loss`` and ``val_…`` after it, ``lr`` (learning
        rate at its last step), ``seconds`` (training) and ``val_seconds`` of wall time.
    step_losses : list of float
        The loss of every step, read at the end of an epoch and every ``log_every`` steps.
    backend : str
        Name of the backend.
    machine : dict
        Device, cores, libraries (`nnlib.backend_info`).
    stopped : str
        Why it ended before its last epoch; empty if it did not.

    Examples
    --------
    >>> history = History(epochs=[{"epoch": 1, "loss": 0.7, "val_accuracy": 0.9},
    ...                           {"epoch": 2, "loss": 0.4, "val_accuracy": 0.95}])
    >>> history["loss"]
    [0.7, 0.4]
    >>> history.best("val_accuracy")
    {'epoch': 2, 'loss': 0.4, 'val_accuracy': 0.95}
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    backend: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """One value for each epoch, NaN where an epoch has none."""
        if name not in self.names():
            raise OptionError(
                f"a history has {', '.join(self.names()) or 'no epochs yet'}. Received: {name!r}"
            )
        return [epoch.get(name, float("nan")) for epoch in self.epochs]

    def names(self) -> list[str]:
        """Names of the values, in the order of their first appearance."""
        return list(dict.fromkeys(name for epoch in self.epochs for name in epoch))

    def best(self, name: str, *, higher_is_better: bool | None = None) -> dict[str, float]:
        """Return the epoch in which a value was best.

        Parameters
        ----------
        name : str
            Such as ``"val_loss"``.
        higher_is_better : bool, optional
            If not given: false for losses, errors and times, true for anything else.
        """
        values = self[name]
        if higher_is_better is None:
            higher_is_better = not is_better_low(name)
        sign = -1.0 if higher_is_better else 1.0
        known = [i for i, value in enumerate(values) if value == value] or [0]
        return self.epochs[min(known, key=lambda i: sign * values[i])]

    # To and from files -----------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists, dicts and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """Undo `to_dict`.

        Raises
        ------
        FileFormatError
            If it is something else.
        """
        with parsing("the values", "those of a history"):
            history = cls(**values)
            expect("epochs", history.epochs, list, (dict,))
            for epoch in history.epochs:
                expect("an epoch", epoch, dict, _VALUES)
                expect("names", list(epoch), list, (str,))
            expect("step_losses", history.step_losses, list, (int, float, type(None)))
            expect("backend", history.backend, str)
            expect("machine", history.machine, dict)
            expect("stopped", history.stopped, str)
        return history

    def to_json(self, path: PathLike | None = None) -> str:
        """Return it as JSON text, and write that to a file if a path is given.

        NaN and infinities become null: JSON has none.
        """
        return export_json(self.to_dict(), path)

    def to_csv(self, path: PathLike | None = None) -> str:
        """Return the epochs as CSV, a line each, and write that to a file if a path is given.

        Examples
        --------
        >>> print(History(epochs=[{"epoch": 1, "loss": 0.5}]).to_csv(), end="")
        epoch,loss
        1,0.5
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.epochs)
        return export_text(text.getvalue(), path)

    # Pictures --------------------------------------------------------------------------------

    def plot(self, path: PathLike | None = None) -> Figure:
        """Draw loss and metrics over the epochs, training and validation in one picture each.

        Parameters
        ----------
        path : path, optional
            Save it there, in the format of its ending (png, svg, pdf).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        OptionError
            If there is no epoch to draw.
        """
        if not self.epochs:
            raise OptionError("a history must have at least one epoch to be drawn. Received: none")
        names = dict.fromkeys(name.removeprefix("val_") for name in self.names())
        panels = [name for name in names if name not in _NO_PANEL]
        figure = new_figure("History.plot", 5 * len(panels), 3.6)
        for axes, name in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            self._draw(axes, name)
        return save_figure(figure, path)

    def _draw(self, axes: Any, name: str) -> None:
        steps = len(self.step_losses)
        if name == "loss" and steps:
            per_epoch = steps / len(self.epochs)
            x = [(i + 1) / per_epoch for i in range(steps)]
            axes.plot(x, self.step_losses, color="0.8", linewidth=0.8, label="each step")
        numbers = self["epoch"] if "epoch" in self.names() else range(1, len(self) + 1)
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if column in self.names():
                axes.plot(numbers, self[column], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend()

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={value:.4g}" for name, value in (self.epochs or [{}])[-1].items())
        return f"History({len(self)} epochs{', last: ' + last if last else ''})"


_NO_PANEL = {"epoch", "lr", "seconds"}


def is_better_low(name: str) -> bool:
    """Guess from its name whether a small value is the better one.

    Examples
    --------
    >>> is_better_low("val_loss"), is_better_low("accuracy")
    (True, False)
    """
    parts = name.lower().split("_")
    return bool(
        {"loss", "error", "mse", "mae", "rmse", "seconds", "perplexity"}.intersection(parts)
    )
