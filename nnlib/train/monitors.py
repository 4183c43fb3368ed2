"""Callbacks that monitor a value of the history: early stopping and checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlib.errors import OptionError, StateError
from nnlib.io import check_writable
from nnlib.reading import parsing
from nnlib.train.callbacks import Callback
from nnlib.train.checkpoint import copied

if TYPE_CHECKING:
    from nnlib.train.trainer import Trainer

__all__ = ["Checkpoint", "EarlyStopping"]


class _Monitor:
    """The best value so far of a name in the history."""

    def __init__(self, name: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise OptionError(f"mode must be 'auto', 'min' or 'max'. Received: {mode!r}")
        if not 0 <= min_delta < math.inf:
            raise OptionError(f"min_delta must be 0 or more. Received: {min_delta}")
        self.name, self.mode, self.min_delta = name, mode, min_delta
        self.best: float | None = None

    def begin(self, trainer: Trainer) -> None:
        """Check the name, and determine the direction of improvement."""
        self.sign = -1.0 if trainer.higher_is_better(self.name) else 1.0
        if self.mode != "auto":
            self.sign = 1.0 if self.mode == "min" else -1.0
        if not trainer.resumed:
            self.best = None

    def improved(self, logs: Mapping[str, float]) -> bool:
        """Add an epoch's value; NaN is never an improvement."""
        value = logs[self.name]
        if math.isnan(value):
            return False
        if self.best is None or self.sign * (self.best - value) > self.min_delta:
            self.best = value
            return True
        return False


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        A name in the history: ``"val_loss"``, ``"val_accuracy"``, ``"loss"``, …
    patience : int
        Number of consecutive epochs without improvement that stops the training.
    min_delta : float
        Smallest difference that counts as an improvement.
    mode : {"auto", "min", "max"}
        Whether small or large is good; ``"auto"`` asks the metric.
    restore_best : bool
        Restore the parameters of the best epoch at the end, also if all epochs were run.
        A copy of them is kept on the device.

    Raises
    ------
    OptionError
        If an option is out of range, or, when training begins, the history will have no such
        name (``"val_…"`` needs validation data).

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> model = nn.Linear(1, 1)
    >>> sgd = optim.SGD(model.parameters(), lr=0.0)  # learns nothing
    >>> early = EarlyStopping("loss", patience=2)
    >>> trainer = nnlib.Trainer(model, "mse", sgd, callbacks=[early], progress=False)
    >>> history = trainer.fit((nnlib.ones(4, 1), nnlib.ones(4, 1)), epochs=10)
    >>> len(history), early.best_epoch
    (3, 1)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise OptionError(f"patience must be at least 1 epoch. Received: {patience}")
        self._monitor = _Monitor(monitor, mode, min_delta)
        self.patience = patience
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self.waited = 0  #: epochs since the best one
        self.best_epoch = 0  #: from 1
        self._best_state: dict[str, Any] = {}

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self._monitor.best

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Start counting."""
        self._monitor.begin(trainer)
        if not trainer.resumed:
            self._reset()

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """Count, keep the best parameters, or stop."""
        if self._monitor.improved(logs):
            self.waited, self.best_epoch = 0, trainer.epoch
            if self.restore_best:
                self._best_state = copied(trainer.model.state_dict())
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(
                f"{self._monitor.name} has not become better than {self.best:.6g} "
                f"(epoch {self.best_epoch}) for {self.waited} epochs"
                if self.best is not None
                else f"{self._monitor.name} was NaN for {self.waited} epochs"
            )

    def on_fit_end(self, trainer: Trainer) -> None:
        """Restore the best parameters."""
        if self._best_state:
            trainer.model.load_state_dict(self._best_state)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and the best parameters."""
        return {
            "best": self.best,
            "waited": self.waited,
            "best_epoch": self.best_epoch,
            "best_state": self._best_state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue counting.

        Raises
        ------
        StateError
            If it is something else.
        """
        with parsing("the state", "one of EarlyStopping", StateError):
            best, best_state = state["best"], dict(state["best_state"])
            waited, best_epoch = (int(state[name]) for name in ("waited", "best_epoch"))
            self._monitor.best = None if best is None else float(best)
        self.waited, self.best_epoch, self._best_state = waited, best_epoch, best_state


class Checkpoint(Callback):
    """Save the whole state of the run, after every epoch or after the best ones.

    Parameters
    ----------
    path : path
        A safetensors file; ``{epoch}`` in it becomes the number of the epoch, so that each has
        its own file.  Otherwise the file is replaced atomically.
    monitor : str, optional
        Save only when this value of the history is the best so far.
    mode : {"auto", "min", "max"}
        Whether small or large is good; ``"auto"`` asks the metric.
    every : int
        Consider only every n-th epoch.

    Raises
    ------
    OptionError
        If an option is out of range or unknown.
    OutputError
        When training begins, if the folder cannot be written.

    Examples
    --------
    >>> keep_last = Checkpoint("run/last.safetensors")
    >>> keep_best = Checkpoint("run/best.safetensors", monitor="val_accuracy")
    >>> keep_all = Checkpoint("run/epoch-{epoch:03}.safetensors")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        every: int = 1,
    ) -> None:
        if every < 1:
            raise OptionError(f"every must be at least 1 epoch. Received: {every}")
        self.path = os.fspath(path)
        self.every = every
        self._monitor = None if monitor is None else _Monitor(monitor, mode)
        self._due = False
        self._path(1)  # raises now for a wrong placeholder

    def _path(self, epoch: int) -> Path:
        try:
            return Path(self.path.format(epoch=epoch))
        except (LookupError, ValueError) as error:
            raise OptionError(
                f"a checkpoint's path can contain {{epoch}} only. Received: {self.path!r}"
            ) from error

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check before training that the folder can be written."""
        check_writable(self._path(1))
        if self._monitor is not None:
            self._monitor.begin(trainer)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """Decide whether to save."""
        self._due = trainer.epoch % self.every == 0 and (
            self._monitor is None or self._monitor.improved(logs)
        )

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Save, if `on_epoch_end` decided to."""
        if self._due:
            trainer.save(self._path(trainer.epoch))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {} if self._monitor is None else {"best": self._monitor.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue comparing.

        Raises
        ------
        StateError
            If it is something else.
        """
        if self._monitor is not None:
            with parsing("the state", "one of Checkpoint", StateError):
                best = state.get("best")
                self._monitor.best = None if best is None else float(best)
