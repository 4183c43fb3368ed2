"""The trainer: everything between a model, its data, and numbers in a history."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nnlib.errors import DTypeError, OptionError, StateError
from nnlib.nn import Module
from nnlib.nn.inference import inference
from nnlib.optim import Optimizer
from nnlib.optim.options import positive_integer
from nnlib.optim.schedules import LRScheduler
from nnlib.random import manual_seed
from nnlib.train import state
from nnlib.train.batches import Batch, Data, as_loader, batches, home_of
from nnlib.train.callbacks import Callback
from nnlib.train.epochs import Epochs
from nnlib.train.history import History
from nnlib.train.interrupt import Interrupt, deferred_interrupt
from nnlib.train.losses import LossFunction
from nnlib.train.metrics import MetricLike, get_metric, unique_names
from nnlib.train.nonfinite import NaNStop
from nnlib.train.outputs import joined, positional
from nnlib.train.progress import make_progress
from nnlib.train.steps import check_optimizer
from nnlib_backends import backend_info

__all__ = ["Trainer"]


class Trainer(Epochs):
    """Train, evaluate and apply a model, on the backend where its parameters are.

    Losses and metrics stay on the device while steps go by.  They are read, all in one piece, when
    an epoch ends, and the losses also every ``log_every`` steps; so a GPU is never made to wait in
    every step.

    Parameters
    ----------
    model : nn.Module
    loss : str or callable
        ``"cross_entropy"``, ``"bce_with_logits"``, ``"mse"``, ``"mae"``, ``"huber"``; or a module
        or function ``(output, target)`` that returns the mean over the batch's examples, or a pair:
        the mean over what counts in the batch, and the number that it was divided by.
    optimizer : optim.Optimizer
        Made for the model's parameters, where they are now.
    metrics : sequence of str, Metric or callable
        See `get_metric`.
    schedule : LRScheduler, optional
    schedule_every : {"epoch", "step"}, optional
        What the schedule counts: epochs if not given, but steps for OneCycleLR.  ReduceLROnPlateau
        gets the epoch's ``val_loss``, or ``loss`` without validation.
    clip_norm : float, optional
        Upper limit of the gradients' common norm.
    callbacks : sequence of Callback
    accumulate : int
        So many batches make one step, as if they were one larger batch: each counts as much as
        its loss says, such as by its labels that are not ignored.
    log_every : int or None
        Read the losses every so many steps; ``None``: when an epoch ends only.
    seed : int, optional
        Start the process-wide random stream (shuffling, dropout) with it in `fit`.  For the
        initial weights call `nnlib.manual_seed` before making the model.
    nan_stop : bool
        Stop when the loss is NaN or infinite, and say where it came from: see `NaNStop`.
    progress : bool
        Show on stderr how far training is: a bar on a terminal, one line an epoch elsewhere.
    compile : bool
        Record a step and replay it, see `nnlib.compile`: faster, with the same results bit by bit.
        Python code in model, loss and metrics then runs in the first steps only, and when a number
        that it reads has changed.  Once an epoch a step is compared with the uncompiled one.
    precision : {"bf16", "fp16", "tf32"}, optional
        Of model and loss, see `nnlib.autocast`; ``"fp16"`` with a scaled loss (`optim.GradScaler`).
        Parameters, and what `predict` returns, stay as they are.

    Attributes
    ----------
    history : History
        Of the run that `fit` began last; after Ctrl-C, too, with every step that was done.
    epoch, step : int
        How many are done.
    last_batch : tuple of Tensor or None
        On the host, if a compiled step brings what is there to the device itself.

    Raises
    ------
    OptionError, DTypeError
        If an option is out of range, or a part is not of its kind.
    CaptureError
        When training, if the model, loss or a metric reads values and so cannot be compiled.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import data, models, optim
    >>> _ = nnlib.manual_seed(0)
    >>> train, test = data.digits()
    >>> model = models.MLP((64, 32, 10))
    >>> optimizer = optim.Adam(model.parameters(), lr=0.01)
    >>> trainer = Trainer(model, "cross_entropy", optimizer, metrics=["accuracy"], progress=False)
    >>> history = trainer.fit(train, val=test, epochs=4, batch_size=64)
    >>> history["val_accuracy"][-1] > 0.9
    True
    >>> sorted(trainer.evaluate(test))
    ['accuracy', 'loss']
    """

    def __init__(
        self,
        model: Module,
        loss: str | LossFunction,
        optimizer: Optimizer,
        metrics: Sequence[MetricLike] = (),
        *,
        schedule: LRScheduler | None = None,
        schedule_every: str | None = None,
        clip_norm: float | None = None,
        callbacks: Sequence[Callback] = (),
        accumulate: int = 1,
        log_every: int | None = 50,
        seed: int | None = None,
        nan_stop: bool = True,
        progress: bool = True,
        compile: bool = True,
        precision: str | None = None,
    ) -> None:
        known = [get_metric(m) for m in ([metrics] if isinstance(metrics, str) else metrics)]
        unique_names(known)
        super().__init__(
            model, loss, optimizer, schedule, schedule_every, clip_norm, known, compile, precision
        )
        positive_integer("accumulate", accumulate)
        if log_every is not None:
            positive_integer("log_every", log_every)
        self.callbacks = _checked_callbacks(callbacks)
        if nan_stop and not any(isinstance(callback, NaNStop) for callback in self.callbacks):
            self.callbacks.insert(0, NaNStop())
        self.accumulate, self.log_every = accumulate, log_every
        self.seed, self.progress = seed, progress
        self.backend, self.dtype = home_of(model)
        self.history = History()
        self.last_batch: Batch | None = None
        self.resumed = False  #: whether this run continues a saved one
        self.resume_from: dict[str, Any] = {}  # loaders' positions, until fit has the loaders
        self.loader: Iterable[Any] = ()
        self.val: Iterable[Any] | None = None
        self.consistent = True  #: whether no step is half done
        self.begin_run()

    # Training --------------------------------------------------------------------------------

    def fit(
        self,
        data: Data,
        val: Data | None = None,
        epochs: int = 1,
        *,
        batch_size: int = 32,
        initial_epoch: int = 0,
    ) -> History:
        """Train.

        Parameters
        ----------
        data : DataLoader, dataset, tuple of arrays or iterable of batches
            A batch is ``(x, y)``, or ``(x1, x2, …, y)`` for a model of several inputs.  A dataset
            or arrays are shuffled; NumPy arrays are fine for a model on a GPU.  Floats are
            converted to the dtype of the parameters.
        val : the same, optional
            What to evaluate on after every epoch.
        epochs : int
            At which epoch to end.  After `resume` those that were done before count.
        batch_size : int
            For datasets and arrays.
        initial_epoch : int
            Continue the numbering and the history of an earlier `fit` from here.

        Returns
        -------
        History
            Also in `history`, which after Ctrl-C has everything that was done.

        Raises
        ------
        DataError
            If there is no batch, or data of the wrong kind.
        NonFiniteError
            If the loss becomes NaN or infinite.
        NnlibError
            Whatever model, loss and callbacks raise: shapes, labels, folders.
        """
        positive_integer("epochs", epochs)
        self._prepare(data, val, batch_size, initial_epoch)
        progress = make_progress(self.progress)
        with self.at_home(), deferred_interrupt() as interrupt:
            self.call("on_fit_begin")
            progress.begin(epochs)
            try:
                while self.epoch < epochs and not self.history.stopped:
                    self.run_epoch(progress, interrupt)
                if self.history.stopped:
                    progress.note(f"stopped after epoch {self.epoch}: {self.history.stopped}")
                self.call("on_fit_end")
            except KeyboardInterrupt:
                self.read_losses()
                raise
            finally:
                progress.end()
                self.resumed, self.resume_from = False, {}
        return self.history

    def _prepare(self, data: Data, val: Data | None, batch_size: int, initial_epoch: int) -> None:
        self.backend, self.dtype = home_of(self.model)
        check_optimizer(self.model, self.optimizer)  # a layer may have been replaced
        if self.resumed:
            self.begin_readings()
        elif initial_epoch:
            self.begin_epoch()
            self.epoch = initial_epoch
            self.history.epochs = self.history.epochs[:initial_epoch]
        else:
            self.history = History()
            self.begin_run()
            if self.seed is not None:
                manual_seed(self.seed)
        self.history.backend = self.backend.name
        self.history.machine = backend_info(self.backend)
        self.history.stopped = ""
        self.loader = as_loader(data, batch_size, shuffle=True)
        self.val = None if val is None else as_loader(val, batch_size, shuffle=False)
        state.place_loaders(self)

    def stop(self, reason: str = "a callback asked for it") -> None:
        """Let `fit` end after this epoch; the history's ``stopped`` says why."""
        self.history.stopped = reason

    def higher_is_better(self, name: str) -> bool:
        """Tell in which direction a number of the history should go.

        Raises
        ------
        OptionError
            If the history has no such loss or metric.
        """
        known = {"loss": False, **{m.name: m.higher_is_better for m in self.metrics}}
        names = [*known, *(f"val_{name}" for name in known if self.val is not None)]
        if name not in names:
            hint = (
                "" if self.val is not None else " Values val_… need validation data: fit(…, val=…)"
            )
            raise OptionError(f"this run has {', '.join(names)}. Received: {name!r}.{hint}")
        return known[name.removeprefix("val_")]

    # Using -----------------------------------------------------------------------------------

    def evaluate(self, data: Data, *, batch_size: int = 256) -> dict[str, float]:
        """Compute loss and metrics, in inference mode.

        Parameters
        ----------
        data : as for `fit`
        batch_size : int
            For datasets and arrays.

        Returns
        -------
        dict
            ``"loss"`` and every metric's name; of all batches together as of a single one.
        """
        self.backend, self.dtype = home_of(self.model)
        with self.at_home():
            return self.evaluate_batches(as_loader(data, batch_size, shuffle=False), Interrupt())

    def predict(self, data: Data, *, batch_size: int = 256) -> Any:
        """Compute the model's outputs, in inference mode.

        Parameters
        ----------
        data : array, or as for `fit`
            An array holds inputs.  Of batches of several arrays the model gets the first ones, as
            many as its ``forward`` takes; what follows, such as targets, is left out.  Where
            ``forward`` takes some of its arguments or not, the model gets as many as in training;
            before that all arrays but the last.
        batch_size : int
            For datasets and arrays.

        Returns
        -------
        numpy.ndarray, or tuple, list or dict of them
            One row for each example, copied to the host at the end; as the model returns it.

        Raises
        ------
        DTypeError
            If the model returns anything else than tensors with the examples along their first
            axis, alone or in nested tuples, lists and dicts.
        DataError
            If a batch has fewer arrays than the model takes.
        """
        if hasattr(data, "shape"):
            data = (data,)
        self.backend, self.dtype = home_of(self.model)
        least, most = positional(self.model.forward)
        count = int(most) if 0 < least == most else None
        if count is None and self.last_batch is not None:
            count = len(self.last_batch) - 1
        outputs, rows = [], []
        with self.at_home(), inference(self.model), self.lowered():
            loader = as_loader(data, batch_size, shuffle=False)
            for batch in batches(loader, self.backend, self.dtype):
                outputs.append(self.output_of(batch[:count] if count else batch[:-1] or batch))
                rows.append(batch[0].shape[0])
            return joined(outputs, rows, self.dtype)

    # Saving ----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to continue this run to a safetensors file, at once.

        Parameters, optimizer, schedule, random stream, place in the data, metrics, history and
        callbacks.  For the parameters alone use ``nnlib.save(model, path)``.

        Raises
        ------
        OutputError
            If the file cannot be written.
        StateError
            If an exception left a step half done.
        """
        if not self.consistent:
            raise StateError(
                "an exception left the last step half done, so this state belongs to no moment of "
                "the run. Resume from an earlier checkpoint"
            )
        state.save(self, Path(path))

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Let the next `fit` continue a run that `save` wrote, as if it had not been interrupted.

        Model, optimizer, schedule, loss, metrics, data, batch size and ``accumulate`` must be those
        of that run.  On NumPy the continuation is bit-identical.

        Raises
        ------
        InputError, FileFormatError
            If the file cannot be read, is damaged or no checkpoint.  Nothing was changed then.
        StateError
            If it is of another model, optimizer or schedule.  Nothing was changed then.
        """
        state.resume(self, Path(path))


def _checked_callbacks(callbacks: Sequence[Callback]) -> list[Callback]:
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise DTypeError(f"a callback must be a Callback. Received: {callback!r}")
    return list(callbacks)
