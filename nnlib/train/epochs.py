"""What an epoch of training is: steps, readings, validation, and the callbacks between them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, nullcontext
from typing import Any

from nnlib.autograd import Tensor
from nnlib.nn.inference import inference
from nnlib.optim.schedules import ReduceLROnPlateau
from nnlib.train import state
from nnlib.train.batches import Batch, batches
from nnlib.train.callbacks import Callback
from nnlib.train.history import History
from nnlib.train.interrupt import Interrupt
from nnlib.train.metric import Metric
from nnlib.train.progress import Progress
from nnlib.train.readings import Losses, mean
from nnlib.train.steps import Results, Steps
from nnlib_backends import Backend, use_backend

__all__ = ["Epochs"]


class Epochs(Steps):
    """The inside of `nnlib.Trainer`, which documents the attributes and sets them."""

    callbacks: list[Callback]
    accumulate: int
    log_every: int | None
    backend: Backend
    dtype: Any
    history: History
    loader: Iterable[Any]
    val: Iterable[Any] | None
    last_batch: Batch | None
    consistent: bool
    resumed: bool
    resume_from: dict[str, Any]

    def begin_run(self) -> None:
        """Count from zero."""
        self.epoch = self.step = 0
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget the epoch that is over."""
        self.batch = 0  #: batches of this epoch that are done
        self.training_done = False  #: whether only validation is left of this epoch
        self.elapsed = 0.0  #: seconds of training in this epoch
        self.epoch_losses: list[tuple[float, float]] = []
        self.begin_readings()
        for metric in self.metrics:
            metric.reset()

    def begin_readings(self) -> None:
        """Have no losses on the device, and none that the callbacks do not know."""
        self._losses = Losses(self.backend)
        self.told = len(self.history.step_losses)

    def run_epoch(self, progress: Progress, interrupt: Interrupt) -> None:
        """Train, validate, write down, tell the callbacks."""
        logs: dict[str, float] = {"epoch": self.epoch + 1}
        logs |= self._train_epoch(progress, interrupt)
        times = {"lr": self.learning_rate, "seconds": round(self.elapsed, 6)}
        if self.val is not None:
            begin = time.perf_counter()
            results = self.evaluate_batches(self.val, interrupt)
            logs |= {f"val_{name}": value for name, value in results.items()}
            times["val_seconds"] = round(time.perf_counter() - begin, 6)
        logs |= times
        self.history.epochs.append(logs)
        self.epoch += 1
        self.begin_epoch()
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(logs.get("val_loss", logs["loss"]))
        elif self.schedule is not None and self.schedule_every == "epoch":
            self.schedule.step()
        self.call("on_epoch_end", logs)
        progress.end_epoch(logs)
        self.call("on_checkpoint")
        interrupt.check()

    def _train_epoch(self, progress: Progress, interrupt: Interrupt) -> dict[str, float]:
        """Do the steps of an epoch (the rest of it, after `resume`); return loss and metrics."""
        self.model.train()
        self.check_replays()
        groups = state.rest_of_epoch(self)  # from now on the loader stands in this epoch
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
        self.elapsed = time.perf_counter() - begin  # the device has done all of it now
        self._tell_losses()
        names = [metric.name for metric in self.metrics]
        return {"loss": mean(self.epoch_losses), **dict(zip(names, values, strict=True))}

    def _record(self, group: list[Batch], results: list[Results]) -> None:
        self.step += 1
        self.batch += len(group)
        for batch, (loss, count, values) in zip(group, results, strict=True):
            self._losses.add(loss, self.step, count)
            for metric, value in zip(self.metrics, values, strict=True):
                metric.add(value, batch[-1])

    def read_losses(self, extras: Sequence[Tensor] = ()) -> list[float]:
        """Wait for the device; take the losses since the last reading into the history.

        Returns
        -------
        list of float
            The values of ``extras``, read on the way.
        """
        steps, values = self._losses.read(extras)
        self.epoch_losses += steps
        self.history.step_losses += [loss for loss, _ in steps]
        return values

    def _tell_losses(self) -> list[float]:
        """Tell the callbacks what they have not been told yet: a checkpoint may have read some."""
        losses = self.history.step_losses[self.told :]
        self.told = len(self.history.step_losses)
        if losses:
            self.call("on_read", losses)
        return losses

    def _steps(self) -> int | None:
        if not isinstance(self.loader, Sized):
            return None
        return math.ceil(len(self.loader) / self.accumulate)

    def evaluate_batches(self, loader: Iterable[Any], interrupt: Interrupt) -> dict[str, float]:
        """Compute loss and metrics in inference mode; one reading, at the end."""
        metrics: list[Metric] = [copy.copy(metric) for metric in self.metrics]
        for metric in metrics:
            metric.reset()
        losses = Losses(self.backend)
        with inference(self.model):
            on_host = self.brings_batches(self.backend)
            for batch in batches(loader, self.backend, self.dtype, on_host=on_host):
                loss, count, values = self.test_step(batch)
                losses.add(loss, 0, count)
                for metric, value in zip(metrics, values, strict=True):
                    metric.add(value, batch[-1])
                interrupt.check()
        ((mean_loss, _),), results = losses.read([metric.result() for metric in metrics])
        return {"loss": mean_loss, **{m.name: v for m, v in zip(metrics, results, strict=True)}}

    def call(self, event: str, *args: Any) -> None:
        """Tell the callbacks."""
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Let new arrays go where the model is."""
        with use_backend(self.backend), self.backend.scope or nullcontext():
            yield
