"""The trainer: epochs of steps, reads of losses, validation and callbacks."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import Any

from nnlib.arguments import positive_integer
from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, OptionError, StateError
from nnlib.nn import Module
from nnlib.nn.functional.counted import Count
from nnlib.nn.inference import inference
from nnlib.optim import GradScaler, Optimizer
from nnlib.optim.schedules import LRScheduler, OneCycleLR, ReduceLROnPlateau
from nnlib.random import manual_seed
from nnlib.train import state
from nnlib.train.batches import Batch, Data, Placement, as_loader, batches
from nnlib.train.callbacks import Callback
from nnlib.train.history import History
from nnlib.train.interrupt import Interrupt, deferred_interrupt
from nnlib.train.losses import Losses, LossFunction, mean
from nnlib.train.metrics import Metric, MetricLike, get_metric, unique_names
from nnlib.train.nonfinite import NaNStop
from nnlib.train.outputs import joined
from nnlib.train.progress import Progress, make_progress
from nnlib.train.stepper import Results, Stepper, positional
from nnlib_backends import backend_info, use_backend

__all__ = ["Trainer"]


def _of_stepper(name: str) -> Any:
    """Return a property of the trainer that reads and sets an attribute of its stepper."""

    def assign(trainer: Trainer, value: Any) -> None:
        setattr(trainer.stepper, name, value)

    return property(attrgetter(f"stepper.{name}"), assign)


class Trainer:
    """Train, evaluate and apply a model, on the backend of its parameters.

    Losses and metrics stay on the device during steps.  They are read, all together, at the end
    of an epoch, and the losses also every ``log_every`` steps, so not every step waits for the
    device.

    Parameters
    ----------
    model : nn.Module
    loss : str or callable
        ``"cross_entropy"``, ``"bce_with_logits"``, ``"mse"``, ``"mae"``, ``"huber"``; or a module
        or function ``(output, target)`` that returns the mean over the batch's samples, or a pair:
        the mean and its divisor.
    optimizer : optim.Optimizer
        Made for the model's parameters, on their current backend.
    metrics : sequence of str, Metric or callable
        See `get_metric`.
    schedule : LRScheduler, optional
    schedule_every : {"epoch", "step"}, optional
        Unit of the schedule: epochs if not given, but steps for OneCycleLR.  ReduceLROnPlateau
        gets the epoch's ``val_loss``, or ``loss`` without validation.
    clip_norm : float, optional
        Upper limit of the gradients' common norm.
    callbacks : sequence of Callback
    accumulate : int
        Number of batches of one step, as if they were one larger batch: the weight of each is the
        divisor of its loss, such as the number of labels that are not ignored.
    log_every : int or None
        Read the losses every so many steps; ``None``: at the end of an epoch only.
    seed : int, optional
        Start the process-wide random stream (shuffling, dropout) with it in `fit`.  For the
        initial weights call `nnlib.manual_seed` before making the model.
    nan_stop : bool
        Stop when the loss is NaN or infinite, and name the layer where it began: see `NaNStop`.
    progress : bool
        Show progress on stderr: a bar on a terminal, one line an epoch elsewhere.
    compile : bool
        Trace a step and replay it, see `nnlib.compile`: faster, with the same results bit by bit.
        Python code in model, loss and metrics then runs in the first steps only, and when a value
        that it reads has changed.  Once an epoch a step is compared with the uncompiled one.
    precision : {"bf16", "fp16", "tf32"}, optional
        Of model and loss, see `nnlib.autocast`; ``"fp16"`` with a scaled loss (`optim.GradScaler`).
        Parameters, and the results of `predict`, keep their dtype.

    Attributes
    ----------
    history : History
        Of the last run of `fit`; after Ctrl-C, too, with all finished steps.
    epoch, step : int
        Numbers of finished ones.
    stepper : Stepper
        Computes the steps; holds ``model``, ``loss``, ``optimizer``, ``metrics`` and so on.
    last_batch : tuple of Tensor or None
        On the host, if a compiled step copies it to the device.

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

    model: Module = _of_stepper("model")
    loss: LossFunction = _of_stepper("loss")
    optimizer: Optimizer = _of_stepper("optimizer")
    metrics: list[Metric] = _of_stepper("metrics")
    clip_norm: float | None = _of_stepper("clip_norm")
    precision: str | None = _of_stepper("precision")
    scaler: GradScaler = _of_stepper("scaler")

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
        self.stepper = Stepper(
            model, loss, optimizer, known,
            clip_norm=clip_norm, compile=compile, precision=precision,
        )  # fmt: skip
        _check_schedule(schedule, schedule_every, optimizer)
        self.schedule = schedule
        self.schedule_every = schedule_every or (
            "step" if isinstance(schedule, OneCycleLR) else "epoch"
        )
        self.learning_rate: float = optimizer.param_groups[0]["lr"]  #: of the last step
        positive_integer("accumulate", accumulate)
        if log_every is not None:
            positive_integer("log_every", log_every)
        self.callbacks = _checked_callbacks(callbacks)
        if nan_stop and not any(isinstance(callback, NaNStop) for callback in self.callbacks):
            self.callbacks.insert(0, NaNStop())
        self.accumulate, self.log_every = accumulate, log_every
        self.seed, self.progress = seed, progress
        self._locate()
        self.history = History()
        self.last_batch: Batch | None = None
        self.resumed = False  #: whether this run continues a saved one
        self.resume_from: dict[str, Any] = {}  # loaders' positions, until fit has the loaders
        self.loader: Iterable[Any] = ()
        self.val: Iterable[Any] | None = None
        self.consistent = True  #: whether no step is half done
        self._begin_run()

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
            or arrays are shuffled; NumPy arrays are moved to the model's backend.  Floats are
            converted to the dtype of the parameters.
        val : the same, optional
            Data to evaluate after every epoch.
        epochs : int
            Last epoch.  After `resume` earlier ones are included.
        batch_size : int
            For datasets and arrays.
        initial_epoch : int
            Continue the numbering and the history of an earlier `fit` from here.

        Returns
        -------
        History
            Also in `history`, which after Ctrl-C has all finished steps.

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
        with self._on_model_backend(), deferred_interrupt() as interrupt:
            self.call("on_fit_begin")
            progress.begin(epochs)
            try:
                while self.epoch < epochs and not self.history.stopped:
                    self._run_epoch(progress, interrupt)
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
        self._locate()
        self.stepper.check_optimizer()  # a layer may have been replaced
        if self.resumed:
            self._begin_readings()
        elif initial_epoch:
            self._begin_epoch()
            self.epoch = initial_epoch
            self.history.epochs = self.history.epochs[:initial_epoch]
        else:
            self.history = History()
            self._begin_run()
            if self.seed is not None:
                manual_seed(self.seed)
        self.history.backend = self.backend.name
        self.history.machine = backend_info(self.backend)
        self.history.stopped = ""
        self.loader = as_loader(data, batch_size, shuffle=True)
        self.val = None if val is None else as_loader(val, batch_size, shuffle=False)
        state.place_loaders(self)

    # An epoch --------------------------------------------------------------------------------

    def _begin_run(self) -> None:
        """Count from zero."""
        self.epoch = self.step = 0
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Reset the state of the last epoch."""
        self.batch = 0  #: batches of this epoch that are done
        self.training_done = False  #: whether only validation is left of this epoch
        self.elapsed = 0.0  #: seconds of training in this epoch
        self.epoch_losses: list[tuple[float, float]] = []
        self._begin_readings()
        for metric in self.metrics:
            metric.reset()

    def _begin_readings(self) -> None:
        """Start with no losses on the device, and none that the callbacks have not got."""
        self._losses = Losses(self.backend)
        self.reported = len(self.history.step_losses)

    def _run_epoch(self, progress: Progress, interrupt: Interrupt) -> None:
        """Train, validate, update the history, call the callbacks."""
        logs: dict[str, float] = {"epoch": self.epoch + 1}
        logs |= self._train_epoch(progress, interrupt)
        times = {"lr": self.learning_rate, "seconds": round(self.elapsed, 6)}
        if self.val is not None:
            begin = time.perf_counter()
            results = self._evaluate(self.val, interrupt)
            logs |= {f"val_{name}": value for name, value in results.items()}
            times["val_seconds"] = round(time.perf_counter() - begin, 6)
        logs |= times
        self.history.epochs.append(logs)
        self.epoch += 1
        self._begin_epoch()
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(logs.get("val_loss", logs["loss"]))
        elif self.schedule is not None and self.schedule_every == "epoch":
            self.schedule.step()
        self.call("on_epoch_end", logs)
        progress.end_epoch(logs)
        self.call("on_checkpoint")
        interrupt.check()

    def _train_epoch(self, progress: Progress, interrupt: Interrupt) -> dict[str, float]:
        """Make the steps of an epoch (of its rest, after `resume`); return loss and metrics."""
        self.model.train()
        self.stepper.check_replays()
        groups = state.rest_of_epoch(self)  # from now on the loader's position is in this epoch
        self.call("on_epoch_begin")
        progress.begin_epoch(self.epoch + 1, self._steps(), self.batch // self.accumulate)
        begin = time.perf_counter() - self.elapsed
        for group in groups:
            self.consistent = False
            self.last_batch = group[-1]
            self._record(group, self.train_step(group))
            self.elapsed = time.perf_counter() - begin
            self.consistent = True
            self.call("on_step_end")
            progress.advance()
            if self.log_every and self.step % self.log_every == 0:
                self.read_losses()
                progress.show(self._tell_losses()[-1])
            interrupt.check()
        self.training_done = True
        values = self.read_losses([metric.result() for metric in self.metrics])
        self.elapsed = time.perf_counter() - begin  # after the read: includes the device's time
        self._tell_losses()
        names = [metric.name for metric in self.metrics]
        return {"loss": mean(self.epoch_losses), **dict(zip(names, values, strict=True))}

    def compute_gradients(self, group: list[Batch]) -> list[tuple[Tensor, Count, Any]]:
        """Compute the gradient of the loss of a group as of one larger batch.

        Returns
        -------
        list of (loss, count, output)
            Of each batch, outside the graph.
        """
        return self.stepper.compute_gradients(group)

    def apply_gradients(self) -> None:
        """Clip the gradients, update the parameters, advance a schedule that counts steps."""
        self.stepper.update()
        self._advance_schedule()

    def train_step(self, group: list[Batch]) -> list[Results]:
        """Make one step with a group of batches, compiled or not; see `Stepper.train_step`."""
        results = self.stepper.train_step([self.placement.arguments(batch) for batch in group])
        self._advance_schedule()
        return results

    def _advance_schedule(self) -> None:
        self.learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.schedule is not None and self.schedule_every == "step":
            self.schedule.step()

    def _record(self, group: list[Batch], results: list[Results]) -> None:
        self.step += 1
        self.batch += len(group)
        for batch, (loss, count, values) in zip(group, results, strict=True):
            self._losses.add(loss, self.step, count)
            for metric, value in zip(self.metrics, values, strict=True):
                metric.add(value, batch[-1])

    def read_losses(self, extras: Sequence[Tensor] = ()) -> list[float]:
        """Wait for the device; append the losses since the last read to the history.

        Returns
        -------
        list of float
            The values of ``extras``, read at the same time.
        """
        steps, values = self._losses.read(extras)
        self.epoch_losses += steps
        self.history.step_losses += [loss for loss, _ in steps]
        return values

    def _tell_losses(self) -> list[float]:
        """Pass all new losses to the callbacks: a checkpoint may have read some of them."""
        losses = self.history.step_losses[self.reported :]
        self.reported = len(self.history.step_losses)
        if losses:
            self.call("on_read", losses)
        return losses

    def _steps(self) -> int | None:
        if not isinstance(self.loader, Sized):
            return None
        return math.ceil(len(self.loader) / self.accumulate)

    def call(self, event: str, *args: Any) -> None:
        """Call a method of every callback."""
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)

    def _locate(self) -> None:
        """Determine the model's backend, to which the next batches are moved."""
        self.placement = Placement.of(self.model, compiled=self.stepper.compiled)
        self.backend, self.dtype = self.placement.backend, self.placement.dtype

    @contextmanager
    def _on_model_backend(self) -> Iterator[None]:
        """Make the model's backend the current one."""
        with use_backend(self.backend), self.backend.scope or nullcontext():
            yield

    def stop(self, reason: str = "a callback asked for it") -> None:
        """End `fit` after this epoch; the history's ``stopped`` is the reason."""
        self.history.stopped = reason

    def higher_is_better(self, name: str) -> bool:
        """Whether an improvement of a value of the history is an increase.

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

    # Evaluation ------------------------------------------------------------------------------

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
            ``"loss"`` and every metric by name, as of one batch of all samples.
        """
        self._locate()
        with self._on_model_backend():
            return self._evaluate(as_loader(data, batch_size, shuffle=False), Interrupt())

    def _evaluate(self, loader: Iterable[Any], interrupt: Interrupt) -> dict[str, float]:
        """Compute loss and metrics in inference mode; read once, at the end."""
        metrics: list[Metric] = [copy.copy(metric) for metric in self.metrics]
        for metric in metrics:
            metric.reset()
        losses = Losses(self.backend)
        with inference(self.model):
            for batch in batches(loader, self.placement):
                loss, count, values = self.stepper.test_step(self.placement.arguments(batch))
                losses.add(loss, 0, count)
                for metric, value in zip(metrics, values, strict=True):
                    metric.add(value, batch[-1])
                interrupt.check()
        ((mean_loss, _),), results = losses.read([metric.result() for metric in metrics])
        return {"loss": mean_loss, **{m.name: v for m, v in zip(metrics, results, strict=True)}}

    def predict(self, data: Data, *, batch_size: int = 256) -> Any:
        """Compute the model's outputs, in inference mode.

        Parameters
        ----------
        data : array, or as for `fit`
            An array holds inputs.  Of batches of several arrays the model gets the first ones, as
            many as its ``forward`` takes; later ones, such as targets, are left out.  If
            ``forward`` has optional arguments, the model gets as many as in training, or without
            training all arrays but the last.
        batch_size : int
            For datasets and arrays.

        Returns
        -------
        numpy.ndarray, or tuple, list or dict of them
            One row for each sample, copied to the host at the end, in the structure of the
            model's output.

        Raises
        ------
        DTypeError
            If the model returns anything else than tensors with the samples along their first
            axis, alone or in nested tuples, lists and dicts.
        DataError
            If a batch has fewer arrays than the model takes.
        """
        if hasattr(data, "shape"):
            data = (data,)
        self._locate()
        least, most = positional(self.model.forward)
        count = int(most) if 0 < least == most else None
        if count is None and self.last_batch is not None:
            count = len(self.last_batch) - 1
        outputs, rows = [], []
        with self._on_model_backend(), inference(self.model), self.stepper.lowered():
            loader = as_loader(data, batch_size, shuffle=False)
            for batch in batches(loader, self.placement.eager):
                outputs.append(
                    self.stepper.output_of(batch[:count] if count else batch[:-1] or batch)
                )
                rows.append(batch[0].shape[0])
            return joined(outputs, rows, self.dtype)

    # Saving ----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole state of this run to a safetensors file, atomically.

        It contains parameters, optimizer, schedule, random stream, position in the data, metrics,
        history and callbacks.  For the parameters alone use ``nnlib.save(model, path)``.

        Raises
        ------
        OutputError
            If the file cannot be written.
        StateError
            If an exception left a step half done.
        """
        if not self.consistent:
            raise StateError(
                "a state must be saved after a complete step. Received: an exception in the last "
                "step. Resume from an earlier checkpoint"
            )
        state.save(self, Path(path))

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Load a run that `save` wrote, which the next `fit` continues.

        Model, optimizer, schedule, loss, metrics, data, batch size and ``accumulate`` must be those
        of that run.  On NumPy the continuation is bit-identical.

        Raises
        ------
        InputError, FileFormatError
            If the file cannot be read, is damaged or no checkpoint.  The trainer is unchanged then.
        StateError
            If it is of another model, optimizer or schedule.  The trainer is unchanged then.
        """
        state.resume(self, Path(path))


def _checked_callbacks(callbacks: Sequence[Callback]) -> list[Callback]:
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise DTypeError(f"a callback must be a Callback. Received: {callback!r}")
    return list(callbacks)


def _check_schedule(schedule: Any, every: str | None, optimizer: Optimizer) -> None:
    if every not in (None, "step", "epoch"):
        raise OptionError(f"schedule_every must be 'step' or 'epoch'. Received: {every!r}")
    if isinstance(schedule, ReduceLROnPlateau) and every == "step":
        raise OptionError("ReduceLROnPlateau looks at an epoch's loss: schedule_every='epoch'")
    if schedule is not None and not isinstance(schedule, LRScheduler):
        raise DTypeError(f"schedule must be of nnlib.optim.schedules. Received: {schedule!r}")
    if schedule is not None and schedule.optimizer is not optimizer:
        raise OptionError("the schedule must be made for this optimizer. Received: another's")
