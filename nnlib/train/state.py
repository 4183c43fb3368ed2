"""The state of a training run, for checkpoints and for repeating steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlib.autograd import Tensor, tensor
from nnlib.errors import FileFormatError, NnlibError, OutOfMemoryError, StateError
from nnlib.random import default_generator
from nnlib.reading import parsing
from nnlib.train.batches import Batch, Placement, batches, grouped
from nnlib.train.checkpoint import copied, load_state, save_state
from nnlib.train.history import History
from nnlib_backends import BackendError

if TYPE_CHECKING:
    from nnlib.train.trainer import Trainer

__all__ = ["place_loaders", "position", "repeat_from", "rest_of_epoch", "resume", "save"]


def position(trainer: Trainer) -> dict[str, Any]:
    """Return the state that determines the next steps; tensors are not copied."""
    schedule = trainer.schedule
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": None if schedule is None else schedule.state_dict(),
        "loader": _state_of(trainer.loader),
        "generator": default_generator.state_dict(),
        "scaler": trainer.scaler.state_dict() if trainer.scaler.enabled else None,
        "step": trainer.step,
        "batch": trainer.batch,
    }


def go_to(trainer: Trainer, start: Mapping[str, Any]) -> None:
    """Restore model, optimizer, schedule and random stream of a position."""
    schedule = trainer.schedule
    if (schedule is None) != (start["schedule"] is None):
        raise StateError(
            "a run must be continued with the schedule that it had. "
            f"Received: {schedule!r}, and a state {'with' if start['schedule'] else 'without'} one"
        )
    scaler = start.get("scaler")  # absent in files of earlier versions
    if (scaler is not None) != trainer.scaler.enabled:
        raise StateError(
            "a run must be continued in the precision that it had. Received: "
            f"precision={trainer.precision!r}, and a state {'of' if scaler else 'without'} fp16"
        )
    trainer.model.load_state_dict(start["model"])
    if scaler is not None:
        trainer.scaler.load_state_dict(scaler)
    if schedule is not None:  # it sets the learning rates; the optimizer's state has those in use
        schedule.load_state_dict(start["schedule"])
    trainer.optimizer.load_state_dict(start["optimizer"])
    default_generator.load_state_dict(start["generator"])


def rest_of_epoch(trainer: Trainer) -> Iterator[list[Batch]]:
    """Groups of batches from the loader's position on."""
    return _groups(trainer, trainer.loader, trainer.batch, trainer.placement)


def repeat_from(trainer: Trainer, start: Mapping[str, Any]) -> Iterator[tuple[int, list[Batch]]]:
    """Restore a position of this epoch; yield the number and the batches of each later step."""
    go_to(trainer, start)
    trainer.model.train()
    loader = copy.copy(trainer.loader)
    _place(loader, start["loader"])
    yield from enumerate(
        _groups(trainer, loader, start["batch"], trainer.placement.eager), start["step"] + 1
    )


def _groups(
    trainer: Trainer, loader: Any, done: int, placement: Placement
) -> Iterator[list[Batch]]:
    where = _state_of(loader)
    if done and where is not None and where.get("batch") == 0:
        return iter(())  # the loader is at the beginning of the next epoch already
    skip = 0 if where is not None else done
    return grouped(batches(loader, placement, skip), trainer.accumulate)


def _state_of(loader: Any) -> dict[str, Any] | None:
    has_state = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
    return loader.state_dict() if has_state else None


def _place(loader: Any, where: Mapping[str, Any] | None) -> None:
    if where is not None and hasattr(loader, "load_state_dict"):
        loader.load_state_dict(where)


def save(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint."""
    trainer.read_losses()
    history = trainer.history.to_dict()
    losses = history.pop("step_losses")
    val = _state_of(trainer.val)
    if val is not None and "batch" in val:
        val["batch"] = 0  # an interrupted validation is repeated as a whole
    whole = {
        **position(trainer),
        "val_loader": val,
        "epoch": trainer.epoch,
        "epoch_losses": _float64(trainer.epoch_losses),
        "elapsed": trainer.elapsed,
        "learning_rate": trainer.learning_rate,
        "metrics": {metric.name: metric.state_dict() for metric in trainer.metrics},
        "history": history,
        "step_losses": _float64(losses),  # as text a long run's would fill the file's header
        "callbacks": [
            {"kind": type(callback).__name__, "state": callback.state_dict()}
            for callback in trainer.callbacks
        ],
    }
    save_state(whole, path)


def _float64(values: list[Any]) -> Tensor:
    return tensor(values, dtype="float64", backend="numpy")


def resume(trainer: Trainer, path: Path) -> None:
    """Read a checkpoint, all or nothing."""
    whole = load_state(path)
    before = copied(position(trainer))
    parts: list[Any] = [*trainer.callbacks, *trainer.metrics]
    states = [part.state_dict() for part in parts]
    try:
        with parsing(path, "a complete checkpoint"):
            _check_metrics(trainer, whole["metrics"])
            run = _run_of(whole)
            go_to(trainer, whole)
            _load_callbacks(trainer, list(whole["callbacks"]))
            for metric in trainer.metrics:
                metric.load_state_dict(whole["metrics"][metric.name])
    except BaseException as error:  # an interruption, too
        go_to(trainer, before)
        for part, own in zip(parts, states, strict=True):
            part.load_state_dict(own)
        passing = (FileFormatError, BackendError, OutOfMemoryError)
        if isinstance(error, NnlibError) and not isinstance(error, passing):
            raise StateError(f"{path}: {error}") from error
        raise
    for name, value in run.items():
        setattr(trainer, name, value)
    trainer.training_done = False
    trainer.resumed = trainer.consistent = True


def _check_metrics(trainer: Trainer, metrics: Mapping[str, Any]) -> None:
    own = [metric.name for metric in trainer.metrics]
    if set(metrics) != set(own):
        raise StateError(
            f"the run must be continued with its metrics, {list(metrics)}. Received: {own}"
        )


def _load_callbacks(trainer: Trainer, saved: list[Mapping[str, Any]]) -> None:
    """Load into each callback the first unused state of its class."""
    for callback in trainer.callbacks:
        for entry in saved:
            if entry["kind"] == type(callback).__name__:
                callback.load_state_dict(entry["state"])
                saved.remove(entry)
                break


def _run_of(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's attributes in a checkpoint, all checked."""
    losses, epoch_losses = (_numbers(whole, name) for name in ("step_losses", "epoch_losses"))
    if losses.ndim != 1 or (epoch_losses.size and epoch_losses.shape[1:] != (2,)):
        raise ValueError("losses of another shape")
    if not all(math.isfinite(count) and count >= 0 for _, count in epoch_losses.tolist()):
        raise ValueError("a loss that is the mean over no finite count")
    counts = {name: whole[name] for name in ("epoch", "step", "batch")}
    for name, count in counts.items():
        if type(count) is not int or count < 0:
            raise ValueError(f"{name} {count!r}, which is no count")
    times = {name: float(whole[name]) for name in ("elapsed", "learning_rate")}
    for name, value in times.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} {value}")
    positions = {name: whole[name] for name in ("loader", "val_loader", "generator")}
    return {
        **counts,
        **times,
        "history": History.from_dict({**whole["history"], "step_losses": losses.tolist()}),
        "epoch_losses": [(loss, count) for loss, count in epoch_losses.tolist()],
        "resume_from": positions,
    }


def _numbers(whole: Mapping[str, Any], name: str) -> Any:
    if not isinstance(whole[name], Tensor):
        raise TypeError(f"no tensor {name}")
    return whole[name].numpy()


def place_loaders(trainer: Trainer) -> None:
    """Restore the loaders' positions of a resumed run; make new loaders draw their seeds now."""
    where = trainer.resume_from
    with parsing("the checkpoint", "of a run with such loaders", StateError):
        for loader, name in ((trainer.loader, "loader"), (trainer.val, "val_loader")):
            _place(loader, where.get(name))
            _state_of(loader)
    if where:  # random numbers drawn since then must not change the run
        default_generator.load_state_dict(where["generator"])
