"""L19: how deep can it go?  Translation, from one sequence to another.

An encoder makes a vector of every source token from the whole source; a decoder generates the
target token by token.  At each step it attends to all source positions (cross-attention), without
labels of which word translates which.

    p(target | source) = Π p(token t | source, tokens before t)

Here the source is a number in digits and the target is the number in Spanish:

    4 7 3 1   →   cuatro mil setecientos treinta y uno

The network learns from pairs, translates new numbers, and shows the attention of each word: to
the digit it comes from.  With --full it learns to translate English to Spanish.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, picture, table

import nnlib
from nnlib import data, models, nn, optim

SPECIAL = ["<pad>", "<s>", "</s>"]  # padding, start, end: tokens 0, 1, 2

ONES = (
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
    "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro "
    "veinticinco veintiséis veintisiete veintiocho veintinueve"
)
TENS = "treinta cuarenta cincuenta sesenta setenta ochenta noventa"
HUNDREDS = (
    "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos "
    "novecientos"
)


def spanish(n: int) -> str:
    """Return a number below 10,000 in words."""
    ones, tens, hundreds = (words.split() for words in (ONES, TENS, HUNDREDS))
    if n < 30:
        return ones[n]
    if n < 100:
        return tens[n // 10 - 3] + (f" y {ones[n % 10]}" if n % 10 else "")
    if n < 1000:
        rest = f" {spanish(n % 100)}" if n % 100 else ""
        return "cien" if n == 100 else hundreds[n // 100 - 1] + rest
    thousands = "" if n < 2000 else f"{ones[n // 1000]} "
    return f"{thousands}mil" + (f" {spanish(n % 1000)}" if n % 1000 else "")


class Words:
    """A tokenizer of words; the first of its vocabulary are the special tokens."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.vocabulary = [*SPECIAL, *sorted({word for text in texts for word in text.split()})]
        self.numbers = {word: i for i, word in enumerate(self.vocabulary)}
        self.vocab_size = len(self.vocabulary)

    def encode(self, text: str) -> np.ndarray:
        """Turn words into numbers."""
        return np.array([self.numbers[word] for word in text.split()], np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """Turn numbers into words."""
        return " ".join(self.vocabulary[i] for i in ids)


def train(
    model: models.Transformer, batches: data.PairLoader, val: Any, epochs: int, lr: float
) -> nnlib.History:
    """AdamW; the learning rate rises for a twentieth of the steps, then falls as a cosine."""
    optimizer = optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98))
    steps = epochs * len(batches)
    up = max(1, steps // 20)
    schedule = optim.schedules.SequentialLR(
        optimizer,
        [
            optim.schedules.LinearLR(optimizer, start_factor=0.01, total_iters=up),
            optim.schedules.CosineAnnealingLR(optimizer, T_max=max(1, steps - up)),
        ],
        [up],
    )
    loss = nn.CrossEntropyLoss(ignore_index=model.config.padding, label_smoothing=0.1)
    trainer = nnlib.Trainer(
        model, loss, optimizer, schedule=schedule, schedule_every="step", clip_norm=1.0
    )
    return trainer.fit(batches, val=val, epochs=epochs)


def main(out: Path, epochs: int = 12, pairs: int = 3000) -> dict[str, Any]:
    nnlib.manual_seed(0)
    numbers = np.random.default_rng(0).permutation(10_000)[: pairs + 300].tolist()
    text = data.ParallelText(tuple(" ".join(str(n)) for n in numbers), tuple(map(spanish, numbers)))
    learned, unseen = text.take(range(pairs)), text.take(range(pairs, len(text)))
    words = Words([*text.source, *text.target])
    known, new = (data.PairDataset.of_text(part, words, multiple=10) for part in (learned, unseen))
    model = models.Transformer(
        vocab_size=words.vocab_size, context=16, layers=2, heads=2, width=64, hidden=128
    )
    batches = data.PairLoader(known, tokens=640, shuffle=True)
    history = train(model, batches, data.PairLoader(new, tokens=640), epochs, lr=4e-3)
    written = models.translate(model, words, unseen.source, beam=1, batch_size=100)
    right = [w == t for w, t in zip(written, unseen.target, strict=True)]
    table(
        ("a number not seen in training", "the network's words", "right?"),
        [
            (s.replace(" ", ""), w, "yes" if r else f"no: {t}")
            for s, w, t, r in zip(unseen.source[:8], written, unseen.target, right, strict=False)
        ],
    )
    print(
        f"{np.mean(right):.1%} of {len(right)} such numbers are right to the last word", end="\n\n"
    )
    shown = "4 7 3 1"
    answer = models.translate(model, words, shown, beam=4, max_new_tokens=12)
    map_ = alignment(model, words, shown, answer)
    path = out / "l19_translation.png"
    picture(path, (11, 4.2), lambda figure: draw(figure, history, shown, answer, map_))
    return {"right": float(np.mean(right)), "history": history, "answer": answer, "map": map_}


def alignment(model: models.Transformer, words: Any, source: str, target: str) -> np.ndarray:
    """Return the attention of each word of a translation, and of its end, to each source token."""
    config = model.config
    rows = [[*words.encode(source).tolist(), config.end]]
    columns = [[config.start, *words.encode(target).tolist()]]
    home = model.embedding.weight.backend
    looks = [
        model.alignment(nnlib.tensor(rows, backend=home), nnlib.tensor(columns, backend=home), i)
        for i in range(config.layers)
    ]
    return np.mean([weights.numpy()[0] for weights in looks], axis=0)


def draw(figure: Any, history: Any, source: str, target: str, weights: np.ndarray) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    losses = np.array(history.step_losses)
    left.plot(np.arange(1, 1 + len(losses)), losses, color="C0", alpha=0.35, linewidth=1)
    ends = np.linspace(0, len(losses), 1 + len(history))[1:]
    left.plot(ends, history["loss"], "o-", color="C0", label="training, mean of an epoch")
    left.plot(ends, history["val_loss"], "o-", color="C1", label="numbers not seen in training")
    left.set(xlabel="steps", ylabel="cross-entropy, labels smoothed by 0.1", ylim=(0, None))
    left.set_title("Learning to count in Spanish")
    left.grid(alpha=0.3)
    left.legend()
    image = right.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    sources, targets = [*source.split(), "end"], [*target.split(), "end"]
    right.set_xticks(range(len(sources)), sources)
    right.set_yticks(range(len(targets)), targets)
    right.set(xlabel="source: the digits", ylabel="target: the words")
    right.spines[["left", "bottom"]].set_visible(False)
    right.tick_params(length=0)
    right.set_title("Where the decoder looked for each word")
    figure.colorbar(image, ax=right, label="attention, mean of layers and heads")


# The long training ----------------------------------------------------------------------------

FILE = "eng-spa-nt.tsv"
SIZES = {"context": 160, "layers": 3, "heads": 4, "width": 128, "hidden": 256, "dropout": 0.1}


def full(out: Path, epochs: int = 14, lr: float = 1.5e-3, vocabulary: int = 3000) -> None:
    """Translate verses of the New Testament that were held out."""
    nnlib.manual_seed(0)
    text = data.parallel_text(FILE)
    parts = text.split(validation=200, test=400, seed=0)
    near = data.near_duplicates(parts.test, parts.train)
    fit = data.BPETokenizer.train([*parts.train.source, *parts.train.target], vocabulary, SPECIAL)
    known = data.PairDataset.of_text(parts.train, fit, longest=72, multiple=8)
    new = data.PairDataset.of_text(parts.validation, fit, multiple=16)
    model = models.Transformer(vocab_size=fit.vocab_size, **SIZES)
    batches = data.PairLoader(known, tokens=512, shuffle=True)
    print(f"{FILE} (from the folder NNLIB_DATA): {len(text)} pairs of verses")
    print(f"held out: {len(parts.validation)} for validation, {len(parts.test)} for the test")
    print(f"left out of training: {parts.removed} that repeat a held-out verse, ", end="")
    print(f"{len(parts.train) - len(known)} of more than 72 tokens; {len(known)} remain")
    print(
        f"{len(near)} test verses share half of their groups of three words with a training verse"
    )
    print(f"{fit!r}, trained on the training verses")
    print(f"Transformer({model.config}): {sum(p.size for p in model.parameters()):,} parameters")
    print(f"{epochs} epochs of {len(batches)} batches, rate {lr}, NNLIB_NUM_THREADS=", end="")
    print(os.environ.get("NNLIB_NUM_THREADS", "(not set)"), end="\n\n", flush=True)
    started = time.perf_counter()
    history = train(model, batches, data.PairLoader(new, tokens=512), epochs, lr)
    minutes = (time.perf_counter() - started) / 60
    table(
        ("epoch", "loss", "validation loss", "seconds"),
        [
            (e["epoch"], f"{e['loss']:.3f}", f"{e['val_loss']:.3f}", f"{e['seconds']:.0f}")
            for e in history.epochs
        ],
    )
    print(f"trained for {minutes:.1f} minutes", end="\n\n")
    path = out / "translator.safetensors"
    models.save_language_model(model, fit, path)
    report(model, fit, parts, set(near))
    print(f"weights, sizes and tokenizer: {path.name}", file=sys.stderr)


def report(model: models.Transformer, fit: Any, parts: data.ParallelSplit, near: set[int]) -> None:
    """Print the scores of test translations and of two answers that need no learning."""
    source, target = parts.test.source, parts.test.target
    greedy = models.translate(model, fit, source, beam=1)
    best = models.translate(model, fit, source, beam=5)
    seen = list(parts.train.target)
    common = max(dict.fromkeys(seen), key=seen.count)
    away = [i for i in range(len(source)) if i not in near]
    rows = [
        ("the network, beam of 5", *scores(best, target)),
        ("the network, greedy", *scores(greedy, target)),
        (f"the network, beam of 5, the {len(away)} without near-duplicates",
         *scores([best[i] for i in away], [target[i] for i in away])),
        ("copy the source", *scores(source, target)),
        ("always the most frequent training target", *scores([common] * len(source), target)),
    ]  # fmt: skip
    table((f"{len(source)} held-out verses", "BLEU", "chrF"), rows)
    bleu, chrf = metrics()
    scores(best, target, bleu, chrf)  # signatures name the number of references
    print(f"sacrebleu: BLEU {bleu.get_signature()}")
    print(f"           chrF {chrf.get_signature()}")
    print("BLEU is of cased words with punctuation apart, as the file has them.")
    print(f"The most frequent training target, {seen.count(common)} times: {common}", end="\n\n")
    for i in np.random.default_rng(1).permutation(len(source))[:10].tolist():
        print(f"English:   {source[i]}\nnetwork:   {best[i]}\nreference: {target[i]}\n")


def metrics() -> tuple[Any, Any]:
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(force=True), CHRF()  # force: no warning that punctuation stands apart


def scores(
    written: Sequence[str], target: Sequence[str], bleu: Any = None, chrf: Any = None
) -> tuple[str, str]:
    """Return BLEU and chrF of a corpus."""
    pair = metrics() if bleu is None else (bleu, chrf)
    return tuple(f"{m.corpus_score(list(written), [list(target)]).score:.2f}" for m in pair)  # type: ignore[return-value]


if __name__ == "__main__":
    folder, long = arguments(
        __doc__,
        full=f"learn English to Spanish from {FILE} in the folder NNLIB_DATA: 20 to 40 minutes",
    )
    full(folder) if long else main(folder)
