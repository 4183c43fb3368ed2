"""L19: how deep can it go?  A GPT, small enough to train in seconds.

GPT-3 is this network with 96 blocks: a decoder of the transformer that predicts the next token,

    x[0] = token embedding + position embedding
    x[l] = x[l-1] + Attention(x[l-1])  then  + MLP          (each of the normalised x)
    p(next) = softmax(x[L] Wᵀ)                               (W: the token embedding again)

and generates by drawing tokens from p and appending them.  In an attention head every position
attends, with weights softmax(q kᵀ / √D), to the positions up to its own.

Here tokens are characters.  Samples are shown before, during and after training; the picture
has the loss and the attention of the heads.  The text is Shakespeare's if the folder NNLIB_DATA has
tinyshakespeare.txt, and otherwise nnlib's docstrings.
"""

import ast
import os
from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, here, picture, table

import nnlib
from nnlib import data
from nnlib.models import GPT, stream_text
from nnlib.train import Callback
from nnlib.train.recipes import recipe_for

QUICK = {"context": 64, "layers": 3, "heads": 4, "width": 96, "bias": False}
FULL = {"context": 64, "layers": 4, "heads": 4, "width": 128, "bias": False}


def read() -> tuple[str, str]:
    """Return the name of a text, and the text."""
    shakespeare = Path(os.environ.get("NNLIB_DATA", ""), "tinyshakespeare.txt")
    if shakespeare.is_file():
        return "Shakespeare", shakespeare.read_text(encoding="utf8")
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    docs = [
        ast.get_docstring(node) or ""
        for path in sorted(Path(nnlib.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8")))
        if isinstance(node, documented)
    ]
    return "nnlib's docstrings", "\n\n".join(filter(None, docs))


class Samples(Callback):
    """Keeps the loss and a generated text after every epoch."""

    def __init__(self, tokenizer: data.CharTokenizer, prompt: str) -> None:
        self.tokenizer, self.prompt = tokenizer, prompt
        self.rows: list[tuple[int, float, str]] = []

    def write(self, model: GPT) -> str:
        """Return the prompt and its continuation."""
        random = nnlib.random.Generator(1)  # a separate stream, so that training does not change
        new = stream_text(model, self.tokenizer, self.prompt, 56, 0.8, generator=random)
        return self.prompt + "".join(new)

    def on_epoch_end(self, trainer: Any, logs: dict[str, float]) -> None:
        """Take a note."""
        self.rows.append((trainer.step, logs["val_loss"], self.write(trainer.model)))


def frequencies(tokens: np.ndarray, count: int) -> tuple[float, float]:
    """Return the cross-entropy of guessing by letter frequencies, and by those after each letter.

    Both are the best of their kind on this very text.
    """
    single = np.bincount(tokens, minlength=count) / len(tokens)
    pairs = np.zeros((count, count))
    np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
    given = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    seen = pairs > 0
    bigram = -(pairs[seen] * np.log(given[seen])).sum() / pairs.sum()
    return float(-(single[single > 0] * np.log(single[single > 0])).sum()), float(bigram)


@nnlib.no_grad()
def attention(model: GPT, tokens: np.ndarray) -> np.ndarray:
    """Return the attention of every head in a text: (layers, heads, T, T), each row sums to 1."""
    (ids,) = here(tokens[None])
    T, heads = len(tokens), model.config.heads
    future = here(np.triu(np.full((T, T), -np.inf, np.float32), k=1))[0]
    x, maps = model.wte(ids) + model.wpe.weight[:T], []
    for layer, block in enumerate(model.h):
        qkv = block.attn.c_attn(block.ln_1(x)).reshape(T, 3, heads, -1)
        q, k = (qkv[:, part].transpose(1, 0, 2) for part in range(2))  # (heads, T, D)
        scores = q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5
        maps.append(nnlib.softmax(scores + future).numpy())
        x = block(x, None, layer)
    return np.stack(maps)


def main(
    out: Path, steps: int = 1000, points: int = 4, seed: int = 0, full: bool = False
) -> dict[str, Any]:
    nnlib.manual_seed(seed)
    name, text = read()
    tokenizer = data.CharTokenizer.from_text(text)
    tokens = tokenizer.encode(text)
    cut = len(tokens) * 9 // 10
    learn, held = tokens[:cut], tokens[cut:]
    model = GPT(vocab_size=tokenizer.vocab_size, **(FULL if full else QUICK))
    context, recipe = model.config.context, recipe_for("char-gpt")
    print(f"{name}: {len(tokens):,} characters, {tokenizer.vocab_size} different ones; ", end="")
    print(f"{sum(p.size for p in model.parameters()):,} parameters\n")

    samples = Samples(tokenizer, "ROMEO:" if name == "Shakespeare" else "Parameters")
    before = samples.write(model)
    optimizer = recipe.make_optimizer(model)
    trainer = nnlib.Trainer(
        model,
        "cross_entropy",
        optimizer,
        schedule=recipe.make_schedule(optimizer, steps),
        schedule_every="step",
        clip_norm=recipe.clip_norm,
        callbacks=[samples],
        progress=full,
    )
    windows = data.TextWindows(learn, context)
    loader = data.DataLoader(
        windows, recipe.batch_size, shuffle=True, batches_per_epoch=steps // points
    )
    apart = data.TextWindows(held if full else held[:20_000], context, stride=context)
    history = trainer.fit(loader, val=apart, epochs=points, batch_size=128)

    knowing_nothing = float(np.log(tokenizer.vocab_size))
    table(
        ("step", "validation loss", "what it writes"),
        [(0, f"{knowing_nothing:.3f} (by chance)", repr(before))]
        + [(step, f"{loss:.3f}", repr(text)) for step, loss, text in samples.rows],
    )
    print(f"seconds of training: {sum(history['seconds']):.1f}\n")
    print("And on, as it is drawn:\n")
    new = stream_text(model, tokenizer, samples.prompt, 300, 0.8)
    print(samples.prompt, end="")
    for piece in new:
        print(piece, end="", flush=True)
    print("\n")
    results = {
        "steps": [row[0] for row in samples.rows],
        "val_loss": history["val_loss"],
        "step_losses": history.step_losses,
        "levels": (knowing_nothing, *frequencies(held, tokenizer.vocab_size)),
        "samples": [before, *(row[2] for row in samples.rows)],
        "characters": tokenizer.decode(held[:32]),
        "attention": attention(model, held[:32]),
    }
    picture(out / "l19_gpt.png", (13, 4.6), lambda figure: draw(figure, results))
    return results


def draw(figure: Any, results: dict[str, Any]) -> None:
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.1, 1, 1))
    axes = left.subplots()
    losses = np.array(results["step_losses"])
    size = max(1, len(losses) // 80)
    means = losses[: len(losses) // size * size].reshape(-1, size).mean(axis=1)
    axes.plot((np.arange(len(means)) + 0.5) * size, means, color="0.7", label="training")
    axes.plot(results["steps"], results["val_loss"], "o-", label="validation")
    names = ("any character alike", "by frequency", "by the character before")
    for level, what in zip(results["levels"], names, strict=True):
        axes.axhline(level, color="C3", linewidth=1, linestyle=":")
        axes.text(len(losses), level, what, ha="right", va="bottom", fontsize="small", color="C3")
    axes.set(title="Cross-entropy of the next character", xlabel="step", ylabel="nats")
    axes.legend(loc="lower left")

    maps, letters = results["attention"], results["characters"]
    layer, head = sharpest(maps)
    axes = middle.subplots()
    axes.imshow(maps[layer, head], cmap="Blues", vmin=0, vmax=1)
    marks = [{" ": "␣", "\n": "↵"}.get(c, c) for c in letters]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(marks)), marks, fontsize="x-small")
        axis.set_tick_params(length=0)
    axes.set(title=f"Head {layer + 1}.{head + 1}: which character (row) looks at which")

    right.suptitle("All heads of all blocks, on the same text", fontsize="medium")
    for i, tiles in enumerate(right.subplots(*maps.shape[:2], squeeze=False)):
        for j, tile in enumerate(tiles):
            tile.imshow(maps[i, j], cmap="Blues", vmin=0, vmax=1)
            tile.set_title(f"{i + 1}.{j + 1}", fontsize="small", pad=3)
            tile.set(xticks=[], yticks=[])


def sharpest(maps: np.ndarray) -> tuple[int, int]:
    """Return layer and head of the map whose rows have the largest weights."""
    peaks = maps[:, :, 1:].max(axis=-1).mean(axis=-1)
    layer, head = np.unravel_index(peaks.argmax(), peaks.shape)
    return int(layer), int(head)


if __name__ == "__main__":
    folder, long = arguments(__doc__, "2,000 steps of the recipe char-gpt, of 800,000 parameters")
    main(folder, **({"steps": 2000, "full": True} if long else {}))
