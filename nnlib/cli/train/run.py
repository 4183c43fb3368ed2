"""A training run from the command line: its folder, the trainer, and the report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

import nnlib
from nnlib.cli.train.options import Settings
from nnlib.errors import FileFormatError, OptionError, OutputError
from nnlib.io import check_writable, save
from nnlib.nn import Module
from nnlib.reading import read_json
from nnlib.train import Callback, Checkpoint, CSVLogger, History, Trainer
from nnlib.train.export import export_text
from nnlib.train.losses import LossFunction
from nnlib.train.metrics import MetricLike
from nnlib.train.recipes import Recipe

__all__ = ["Job", "run"]


@dataclass(frozen=True)
class Job:
    """Model, data and options of a training.

    Attributes
    ----------
    model, data : str
        Their names.
    recipe : Recipe
    make, load : callable
        Make the model and the training batches, in this order, after the seed is set.
    held_out : dataset or iterable of batches
        Test data, never trained on.
    about : str
        Description of the amount of data.
    results : callable
        Values of the last epoch → those to report, by name.
    loss : str or callable
    metrics : sequence
    held_out_batch : int
        Batch size, where ``held_out`` is a dataset.
    options : dict
        Further options, such as the model's sizes.
    notes : callable, optional
        Model → metadata of its weights file, so that it can be used without the data.
    afterwards : callable, optional
        Trained model → further results, by name.
    """

    model: str
    data: str
    recipe: Recipe
    make: Callable[[], Module]
    load: Callable[[], Iterable[Any]]
    held_out: Any
    about: str
    results: Callable[[Mapping[str, float]], Mapping[str, float | str]]
    loss: str | LossFunction = "cross_entropy"
    metrics: Sequence[MetricLike] = ()
    held_out_batch: int = 256
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: Callable[[Module], Mapping[str, str]] = lambda model: {}
    afterwards: Callable[[Module], dict[str, Any]] | None = None


def run(job: Job, settings: Settings) -> None:
    """Do a job, and print its results."""
    options = {
        "model": job.model,
        "data": job.data,
        "seed": settings.seed,
        **job.options,
        **asdict(job.recipe),
        **({} if settings.precision is None else {"precision": settings.precision}),
    }
    options = json.loads(json.dumps(options))  # as read from a file: no tuples
    if settings.out is not None:
        _check_folder(settings.out, options, settings.resume)
    nnlib.manual_seed(settings.seed)
    net = job.make()
    _say(settings, _title(job, net), _text(options))
    history = _fit(job, net, settings)
    report = _report(job, options, net, history, settings.out)
    click.echo(json.dumps(report, indent=2) if settings.as_json else _table(report))


def _fit(job: Job, net: Module, settings: Settings) -> History:
    loader = job.load()
    optimizer = job.recipe.make_optimizer(net)
    out, epochs = settings.out, settings.epochs
    callbacks: list[Callback] = []
    if out is not None:
        path = os.fspath(_checkpoint(out)).replace("{", "{{").replace("}", "}}")  # not {epoch}
        callbacks = [Checkpoint(path), CSVLogger(out / "history.csv")]
    steps = epochs * len(loader)  # type: ignore[arg-type]
    trainer = Trainer(
        net,
        job.loss,
        optimizer,
        metrics=job.metrics,
        schedule=job.recipe.make_schedule(optimizer, steps),
        schedule_every="step",
        clip_norm=job.recipe.clip_norm,
        callbacks=callbacks,
        progress=not settings.quiet,
        precision=settings.precision,
    )
    if settings.resume and out is not None and os.path.exists(_checkpoint(out)):
        trainer.resume(_checkpoint(out))
        _say(settings, f"continuing after epoch {trainer.epoch}")
        if trainer.epoch > epochs:
            raise OptionError(
                f"--epochs must be at least the {trainer.epoch} epochs that are done. "
                f"Received: {epochs}"
            )
        if not len(trainer.history):
            raise FileFormatError(
                f"{_checkpoint(out)} must be of a run of at least one epoch. Received: none. "
                "Begin anew, in another folder"
            )
    # also if all epochs are done: the run may have been killed before its results were written
    history = trainer.fit(loader, val=job.held_out, epochs=epochs, batch_size=job.held_out_batch)
    if out is not None:
        notes = None if job.notes is None else job.notes(net)
        save(net, out / "weights.safetensors", metadata=notes)
        history.to_json(out / "history.json")
    return history


# Files ---------------------------------------------------------------------------------------


def _checkpoint(out: Path) -> Path:
    return out / "checkpoint.safetensors"


def _check_folder(out: Path, options: dict[str, Any], resume: bool) -> None:
    """See that the folder can be written, and that it holds this run if one is to be continued."""
    there = os.path.exists(_checkpoint(out))
    if there and not resume:
        raise OutputError(
            f"{out} holds a run already. Continue it with --resume, or give another folder"
        )
    if resume:
        if not os.path.exists(out / "options.json"):
            raise OptionError(f"--resume needs a run in {out}. Received: a folder without one")
        before = _read_options(out / "options.json")
        if before != options:
            differ = [name for name in options if before.get(name) != options[name]]
            raise OptionError(
                f"a run must be continued with its own options. Different: {', '.join(differ)}. "
                f"In {out}: {_text(before)}"
            )
    check_writable(_checkpoint(out))
    export_text(json.dumps(options, indent=2) + "\n", out / "options.json")


def _read_options(path: Path) -> dict[str, Any]:
    return read_json(path, "the options of the run")


# Texts ---------------------------------------------------------------------------------------


def _say(settings: Settings, *lines: str) -> None:
    if not settings.quiet:
        for line in lines:
            click.echo(line, err=True)


def _title(job: Job, net: Module) -> str:
    return (
        f"nnlib {nnlib.__version__}: {job.model}, {_parameters(net):,} parameters, on {job.data}: "
        f"{job.about}; {_machine(nnlib.backend_info())}"
    )


def _parameters(net: Module) -> int:
    return sum(parameter.size for parameter in net.parameters())


def _machine(info: dict[str, Any]) -> str:
    threads = info["details"].get("blas_threads")
    blas = info["libraries"].get("blas")
    arithmetic = f", {blas} with {threads} threads" if blas and threads else ""
    return f"{info['backend']} on {info['name']}, {info['cores']} cores{arithmetic}"


def _text(options: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if name not in ("model", "data") and value is not None
    )


def _report(
    job: Job, options: dict[str, Any], net: Module, history: History, out: Path | None
) -> dict[str, Any]:
    last = history.epochs[-1]
    files = ("weights.safetensors", "checkpoint.safetensors", "history.json", "history.csv")
    results = dict(job.results(last))
    if job.afterwards is not None:
        results |= job.afterwards(net)
    return {
        "options": options,
        "parameters": _parameters(net),
        "epochs": len(history),
        "results": [name for name, value in results.items() if not isinstance(value, list)],
        **results,
        "train_loss": last["loss"],
        "train_seconds": round(sum(history["seconds"]), 3),
        "test_seconds": round(sum(history["val_seconds"]), 3),
        "backend": history.backend,
        "machine": history.machine,
        "history": history.epochs,
        "files": [] if out is None else [str(out / name) for name in files],
    }


def _table(report: dict[str, Any]) -> str:
    rows = [
        ("model", f"{report['options']['model']}, {report['parameters']:,} parameters"),
        ("data", report["options"]["data"]),
        ("epochs", str(report["epochs"])),
        *((name.replace("_", " "), _number(name, report[name])) for name in report["results"]),
        ("training loss", _number("train_loss", report["train_loss"])),
        ("training time", f"{report['train_seconds']:.1f} s"),
        ("machine", _machine(report["machine"])),
        *(("file", name) for name in report["files"]),
    ]
    examples = [
        "\n".join(f"{name:<11}  {text}" for name, text in example.items())
        for example in report.get("translations", ())
    ]
    width = max(14, *(len(name) for name, _ in rows))
    table = "\n".join(f"{name:<{width}} {value}" for name, value in rows)
    return "\n\n".join([table, *examples])


def _number(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if name.endswith(("error", "accuracy")):
        return f"{value:.2%}"
    return f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.3g}"
