"""Callbacks: the base class and two loggers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlib.io import check_writable

if TYPE_CHECKING:
    from nnlib.train.trainer import Trainer

__all__ = ["CSVLogger", "Callback", "LearningRateLogger"]

PathLike = str | os.PathLike[str]


class Callback:
    """Base class of callbacks; subclass it and define the methods that you need.

    Each method gets the trainer, with ``model``, ``optimizer``, ``history``, ``epoch`` (epochs
    done), ``step`` (steps done), ``last_batch``; it may call ``trainer.stop(reason)``.  Reading a
    tensor's value in `on_step_end` makes every step wait for the device; before the other calls
    the trainer has just read values.

    Examples
    --------
    >>> class Cheer(Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         if logs["loss"] < 0.1:
    ...             trainer.stop("good enough")
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step: check here whether a folder can be written."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first step of an epoch, or of its rest after `Trainer.resume` in mid-epoch."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After every update of the parameters."""

    def on_read(self, trainer: Trainer, losses: list[float]) -> None:
        """After the losses of the last steps were read, in order; also at the end of an epoch."""

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """After an epoch and its validation, with the values added to the history."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """After every callback's `on_epoch_end`: save here."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch; not if training ended by an exception."""

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: numbers, texts, tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


class CSVLogger(Callback):
    """Write the history to a CSV file after every epoch, one line an epoch.

    The file is replaced as a whole, so it is never incomplete, and after `Trainer.resume` it has
    the earlier epochs, too.

    Parameters
    ----------
    path : path

    Raises
    ------
    OutputError
        When training begins, if the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> model = nn.Linear(1, 1)
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> path = Path(tempfile.mkdtemp(), "history.csv")
    >>> trainer = nnlib.Trainer(model, "mse", sgd, callbacks=[CSVLogger(path)], progress=False)
    >>> _ = trainer.fit((nnlib.ones(4, 1), nnlib.ones(4, 1)), epochs=2)
    >>> len(path.read_text().splitlines())  # the names, and two epochs
    3
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check that the folder can be written."""
        check_writable(self.path)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """Write the file."""
        trainer.history.to_csv(self.path)


class LearningRateLogger(Callback):
    """Keep the learning rate of every step (the history has the last one of every epoch).

    Attributes
    ----------
    rates : list of float
        One for each step.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> model = nn.Linear(1, 1)
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> logger = LearningRateLogger()
    >>> trainer = nnlib.Trainer(model, "mse", sgd, callbacks=[logger], progress=False)
    >>> _ = trainer.fit((nnlib.ones(4, 1), nnlib.ones(4, 1)), epochs=2)
    >>> logger.rates
    [0.1, 0.1]
    """

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Start a new list, unless a run is continued."""
        if not trainer.resumed:
            self.rates = []

    def on_step_end(self, trainer: Trainer) -> None:
        """Append the learning rate of the step."""
        self.rates.append(trainer.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the list."""
        return {"rates": self.rates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the list."""
        self.rates = list(state["rates"])
