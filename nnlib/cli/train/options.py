"""The options that every training has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import nnlib
from nnlib.train.recipes import OPTIMIZERS, SCHEDULES

__all__ = ["Settings", "size_options", "training_options"]


@dataclass(frozen=True)
class Settings:
    """Options of the command line common to all trainings.

    Attributes
    ----------
    epochs, seed : int
    out : Path or None
        The folder for results.
    precision : str or None
        Of model and loss; None: unchanged.
    resume, as_json, quiet : bool
    changes : dict
        Changes of the model's recipe.
    """

    epochs: int
    seed: int
    out: Path | None
    precision: str | None
    resume: bool
    as_json: bool
    quiet: bool
    changes: dict[str, Any]


_IN_RECIPE = ("batch_size", "lr", "optimizer", "schedule", "weight_decay", "augment")


def training_options(epochs: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options to a command, which gets them as ``settings`` and runs on their backend.

    The command's own options belong above this decorator.
    """
    options = [
        click.option("--epochs", type=click.IntRange(min=1), default=epochs, show_default=True),
        click.option("--batch-size", type=click.IntRange(min=1), help="Examples in a step."),
        click.option(
            "--lr", type=click.FloatRange(min=0, min_open=True), help="Initial learning rate."
        ),
        click.option("--optimizer", type=click.Choice(list(OPTIMIZERS))),
        click.option(
            "--schedule", type=click.Choice(list(SCHEDULES)), help="Of the learning rate."
        ),
        click.option("--weight-decay", type=click.FloatRange(min=0)),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option(
            "--precision",
            type=click.Choice(["bf16", "fp16", "tf32"]),
            help="Mixed precision, for GPUs.  [default: float32]",
        ),
        click.option(
            "--backend", help="numpy, cupy, cupy:1, auto.  [default: NNLIB_BACKEND or numpy]"
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for weights, history and a checkpoint of every epoch.",
        ),
        click.option("--resume", is_flag=True, help="Continue the run in --out."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def called(
            *,
            epochs: int,
            seed: int,
            backend: str | None,
            out: Path | None,
            precision: str | None,
            resume: bool,
            as_json: bool,
            quiet: bool,
            **others: Any,
        ) -> None:
            if resume and out is None:
                raise click.UsageError("--resume needs --out, the folder of the run to continue.")
            changes = {name: others.pop(name) for name in _IN_RECIPE if name in others}
            settings = Settings(epochs, seed, out, precision, resume, as_json, quiet, changes)
            with nnlib.use_backend(backend or nnlib.get_backend()):
                command(settings=settings, **others)

        called.__name__, called.__doc__ = command.__name__, command.__doc__
        for option in reversed(options):
            called = option(called)
        return called

    return decorate


def size_options(
    layers: int, heads: int, width: int, dropout: float
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the sizes of a transformer to a command; belongs above `training_options`."""
    options = [
        click.option(f"--{name}", type=click.IntRange(min=1), default=default, show_default=True)
        for name, default in (("layers", layers), ("heads", heads), ("width", width))
    ]
    share = click.FloatRange(0, 1, max_open=True)
    options.append(click.option("--dropout", type=share, default=dropout, show_default=True))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
