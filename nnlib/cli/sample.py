"""``nnlib sample``: generate or translate text with a trained model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

import nnlib
from nnlib import models
from nnlib.cli.streams import gone
from nnlib.errors import InputNotFoundError

__all__ = ["sample"]


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--prompt", default="\n", help="How the text begins, or what to translate.")
@click.option(
    "--length", type=click.IntRange(min=1), default=500, show_default=True, help="Tokens at most."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.8,
    show_default=True,
    help="Lower: likelier tokens; 0: always the likeliest.",
)
@click.option("--top-k", type=click.IntRange(min=1), help="Draw among so many tokens only.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Draw among the likeliest tokens only, which together have this probability.",
)
@click.option(
    "--beam",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="For translations: beginnings that are kept.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Write the same text again.")
@click.option("--backend", help="numpy, cupy, cupy:1, auto.  [default: NNLIB_BACKEND or numpy]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON when all is written.")
def sample(
    checkpoint: Path,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    beam: int,
    seed: int | None,
    backend: str | None,
    as_json: bool,
) -> None:
    """Continue a text, or translate it, with a model that `nnlib train` made.

    \b
    nnlib sample run --prompt "ROMEO:"
    nnlib sample run --prompt "In the beginning was the Word." --beam 4

    CHECKPOINT is the folder of a training (its --out) or a weights file in it. The text appears as
    it is written.
    """  # noqa: D301 - \b is the character: click keeps the lines below it
    with nnlib.use_backend(backend or nnlib.get_backend()):
        if seed is not None:
            nnlib.manual_seed(seed)
        model, tokenizer = models.load_language_model(_weights(checkpoint))
        if isinstance(model, models.Transformer):
            pieces = iter([models.translate(model, tokenizer, prompt, beam=beam)])
            beginning = ""
        else:
            assert isinstance(model, models.LanguageModel)
            pieces = models.stream_text(
                model, tokenizer, prompt, length, temperature=temperature, top_k=top_k, top_p=top_p
            )
            beginning = prompt
        if as_json:
            text = beginning + "".join(pieces)
            click.echo(json.dumps({"prompt": prompt, "text": text}, ensure_ascii=False, indent=2))
            return
        click.echo(beginning, nl=False)
        for piece in pieces:
            click.echo(piece, nl=False)  # flushes
            if gone():
                return
        click.echo()


def _weights(path: Path) -> Path:
    """Find the weights, given their file or the folder of the training."""
    if os.path.isdir(path):
        path = path / "weights.safetensors"
    try:
        os.stat(path)
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"CHECKPOINT must be a weights file, or the folder of a finished training. "
            f"Received: {path}, which does not exist"
        ) from error
    except OSError:
        pass  # reading it will raise the error
    return path
