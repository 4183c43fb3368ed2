"""Training a transformer to translate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nnlib import data, models
from nnlib.cli.train.options import Settings, size_options, training_options
from nnlib.cli.train.run import Job, run
from nnlib.data import BPETokenizer, PairDataset, PairLoader, ParallelText
from nnlib.errors import missing_extra
from nnlib.models import Transformer, TransformerConfig
from nnlib.nn import CrossEntropyLoss, Module
from nnlib.train.recipes import recipe_for

__all__ = ["command"]

SPECIAL = ("<pad>", "<s>", "</s>")  # padding, start and end: tokens 0, 1 and 2
MULTIPLE = 8  # rows are padded to a multiple of so many tokens: few shapes, few traces
SHOWN = 10  # translations in the report


@click.command("translate")
@click.option(
    "--data",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="UTF-8, a text and its translation on each line, a tab between; also in NNLIB_DATA.",
)
@size_options(layers=3, heads=4, width=128, dropout=0.1)
@click.option("--hidden", type=click.IntRange(min=1), default=256, show_default=True)
@click.option(
    "--vocabulary",
    type=click.IntRange(min=256 + len(SPECIAL)),
    default=3000,
    show_default=True,
    help="Pieces of words, common to both languages.",
)
@click.option(
    "--longest",
    type=click.IntRange(min=2),
    default=72,
    show_default=True,
    help="Pairs with more tokens are not trained on.",
)
@click.option("--validation", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--test", type=click.IntRange(min=1), default=400, show_default=True)
@training_options(epochs=14)
def translate(
    settings: Settings,
    path: Path,
    vocabulary: int,
    longest: int,
    validation: int,
    test: int,
    **sizes: Any,
) -> None:
    """Train a transformer to translate; report scores of held-out pairs.

    \b
    nnlib train translate --data eng-spa-nt.tsv --out run
    nnlib sample run --prompt "In the beginning was the Word."

    --batch-size counts the tokens of either side, 512 if not given. Pairs that repeat a held-out
    one are not trained on. BLEU and chrF are sacrebleu's, with a beam of 5.
    """  # noqa: D301 - \b is the character: click keeps the lines below it
    _sacrebleu()
    text = data.parallel_text(path)
    parts = text.split(validation=validation, test=test, seed=0)
    recipe = recipe_for("translate").changed(**settings.changes)
    pieces = BPETokenizer.train([*parts.train.source, *parts.train.target], vocabulary, SPECIAL)
    known = PairDataset.of_text(parts.train, pieces, longest=longest, multiple=MULTIPLE)
    held_out = PairDataset.of_text(parts.validation, pieces, multiple=2 * MULTIPLE)
    tested = PairDataset.of_text(parts.test, pieces)
    context = int(max(longest, held_out.lengths.max(), tested.lengths.max()))
    config = TransformerConfig(vocab_size=pieces.vocab_size, context=context, **sizes)
    job = Job(
        "translate",
        path.name,
        recipe,
        make=lambda: Transformer(config),
        load=lambda: PairLoader(known, recipe.batch_size, shuffle=True, prefetch=2),
        held_out=PairLoader(held_out, recipe.batch_size),
        about=f"{len(known):,} training, {validation:,} validation and {test:,} test pairs",
        results=lambda last: {"validation_loss": last["val_loss"]},
        loss=CrossEntropyLoss(ignore_index=config.padding, label_smoothing=0.1),
        options={**sizes, "vocabulary": vocabulary, "longest": longest, "context": context},
        notes=lambda model: models.language_model_notes(model, pieces),
        afterwards=lambda model: _tested(model, pieces, parts.test),
    )
    run(job, settings)


def command(model: str) -> click.Command:
    """Return the command."""
    return translate


def _tested(model: Module, pieces: BPETokenizer, pairs: ParallelText) -> dict[str, Any]:
    """Translate the held-out pairs; return scores and some translations."""
    metrics = _sacrebleu()
    assert isinstance(model, Transformer)
    written = models.translate(model, pieces, pairs.source)
    bleu, chrf = metrics.BLEU(force=True), metrics.CHRF()  # force: no warning of cut words
    return {
        "BLEU": bleu.corpus_score(written, [list(pairs.target)]).score,
        "chrF": chrf.corpus_score(written, [list(pairs.target)]).score,
        "sacrebleu": str(bleu.get_signature()),
        "translations": [
            {"source": source, "translation": translation, "reference": reference}
            for source, translation, reference in zip(
                pairs.source[:SHOWN], written, pairs.target, strict=False
            )
        ],
    }


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise missing_extra("BLEU needs sacrebleu", "text") from error
    return metrics
