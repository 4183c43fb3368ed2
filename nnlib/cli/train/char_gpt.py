"""Training a GPT on the characters of a text."""

from __future__ import annotations

import math
from pathlib import Path

import click

from nnlib import data
from nnlib.cli.train.options import Settings, size_options, training_options
from nnlib.cli.train.run import Job, run
from nnlib.data import DataLoader, TextWindows
from nnlib.models import GPT, GPTConfig, language_model_notes
from nnlib.train.recipes import recipe_for

__all__ = ["command"]

EVALUATION_BATCH = 128


@click.command("char-gpt")
@click.option(
    "--data",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="A UTF-8 text; also looked for in NNLIB_DATA.",
)
@size_options(layers=4, heads=4, width=128, dropout=0.0)
@click.option(
    "--context", type=click.IntRange(min=1), default=64, show_default=True, help="In characters."
)
@click.option(
    "--steps-per-epoch",
    type=click.IntRange(min=1),
    default=250,
    show_default=True,
    help="Each on a batch of windows at random places.",
)
@training_options(epochs=8)
def char_gpt(settings: Settings, path: Path, steps_per_epoch: int, **sizes: float) -> None:
    """Train a GPT on the characters of a text; its last tenth is held out.

    \b
    nnlib train char-gpt --data tinyshakespeare.txt --out run
    nnlib sample run --prompt "ROMEO:"

    With default sizes, 8 epochs of 250 steps take about a minute on two cores.
    """  # noqa: D301 - \b is the character: click keeps the lines below it
    text = data.text(path)
    config = GPTConfig(vocab_size=text.tokenizer.vocab_size, bias=False, **sizes)  # type: ignore[arg-type]
    train_set = TextWindows(text.train, config.context)
    held_out = TextWindows(text.validation, config.context, stride=config.context)
    recipe = recipe_for("char-gpt").changed(**settings.changes)
    job = Job(
        "char-gpt",
        path.name,
        recipe,
        make=lambda: GPT(config),
        load=lambda: DataLoader(
            train_set,
            recipe.batch_size,
            shuffle=True,
            batches_per_epoch=steps_per_epoch,
            prefetch=2,
        ),
        held_out=held_out,
        about=f"{len(text.train):,} characters, {len(text.validation):,} for validation, "
        f"{config.vocab_size} distinct",
        results=lambda last: {
            "validation_loss": last["val_loss"],
            "bits_per_character": last["val_loss"] / math.log(2),
        },
        held_out_batch=EVALUATION_BATCH,
        options={**sizes, "steps_per_epoch": steps_per_epoch},
        notes=lambda model: language_model_notes(model, text.tokenizer),
    )
    run(job, settings)


def command(model: str) -> click.Command:
    """Return the command."""
    return char_gpt
