"""A GPT of characters, trained by nnlib; ``char_gpt_torch.py`` is the same run in PyTorch.

    python benchmarks/learning/char_gpt.py DATA/tinyshakespeare.txt --weights initial.safetensors

4 layers, 4 heads, width 128, context 64, without biases; 2,000 steps of 12 windows by the recipe
``"char-gpt"``, as in ``nnlib train char-gpt``.  The validation loss is that of the whole last
tenth of the text, cut into windows.
"""

import argparse
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import nnlib
from nnlib import data
from nnlib.models import GPT
from nnlib.train.recipes import recipe_for

SIZES = {"context": 64, "layers": 4, "heads": 4, "width": 128, "bias": False}
STEPS, EVALUATIONS, EVALUATION_BATCH = 2000, 8, 128  # as ``nnlib train char-gpt`` has them


def command() -> str:
    """Return the command line, without local folders."""
    threads = os.environ.get("NNLIB_NUM_THREADS")
    words = [f"DATA/{Path(w).name}" if w.endswith(".txt") else Path(w).name for w in sys.argv[1:]]
    program = ["python", f"benchmarks/learning/{Path(sys.argv[0]).name}"]
    return (f"NNLIB_NUM_THREADS={threads} " if threads else "") + shlex.join(program + words)


def main() -> None:
    """Train, and print a log."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path, help="a UTF-8 file")
    parser.add_argument("--weights", type=Path, help="file for the initial weights")
    parser.add_argument("--lr", type=float, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    nnlib.manual_seed(given.seed)
    text = data.text(given.text)
    recipe = recipe_for("char-gpt").changed(lr=given.lr)
    model = GPT(vocab_size=len(text.vocabulary), **SIZES)
    loader = data.DataLoader(
        data.TextWindows(text.train, model.config.context),
        recipe.batch_size,
        shuffle=True,
        batches_per_epoch=STEPS // EVALUATIONS,
    )
    if given.weights:
        nnlib.save(model, given.weights, metadata={"loader seed": str(loader.seed)})
    held = data.TextWindows(text.validation, model.config.context, stride=model.config.context)
    optimizer = recipe.make_optimizer(model)
    trainer = nnlib.Trainer(
        model,
        "cross_entropy",
        optimizer,
        schedule=recipe.make_schedule(optimizer, STEPS),
        schedule_every="step",
        clip_norm=recipe.clip_norm,
    )
    info = nnlib.backend_info()
    print(f"$ {command()}")
    print(f"nnlib {nnlib.__version__}: {sum(p.size for p in model.parameters()):,} parameters;")
    print(f"{info['backend']} on {info['name']}, {info['cores']} cores")
    print(f"{model.config}\n{asdict(recipe)}\n{STEPS} steps, seed {given.seed}", flush=True)
    history = trainer.fit(loader, held, EVALUATIONS, batch_size=EVALUATION_BATCH)
    print(f"validation loss  {history['val_loss'][-1]:.4f}")
    print(f"training time    {sum(history['seconds']):.1f} s")


if __name__ == "__main__":
    main()
