"""L16: more data is better, and larger networks improve for longer.

A learning curve is the error on test data against the number of training examples:

    for n in sizes:   train on n examples   →   error on the same test examples

Every subset holds the smaller ones, with all classes in their shares; every training begins with
new weights and makes equally many steps, so that only the data differ.  More data help every
network at first.  A small one soon has learned what its few neurons can express, and its curve
becomes flat; a larger one still turns more data into fewer errors.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

from course import arguments, picture, table

import nnlib
from nnlib import optim
from nnlib.models import MLP
from nnlib.train import LearningCurve, learning_curve

FULL = "MNIST instead of the digits, 100 to 60,000 images, 10 to 1,000 hidden neurons (30 minutes)"


def settings(full: bool) -> dict[str, Any]:
    """Return the data, the networks by their hidden neurons, and how to train."""
    if full:
        return {
            "data": nnlib.data.mnist(), "hidden": (10, 100, 1000), "steps": 6000,
            "batch_size": 64, "sizes": (100, 500, 2500, 12_500, 60_000), "seeds": 3,
        }  # fmt: skip
    return {
        "data": nnlib.data.digits(), "hidden": (4, 16, 256), "steps": 1500,
        "batch_size": 32, "sizes": (20, 60, 180, 540, 1442), "seeds": 3,
    }  # fmt: skip


def main(out: Path, full: bool = False, **changed: Any) -> LearningCurve:
    given = {**settings(full), **changed}
    (inputs, *_), labels = given["data"][0].arrays[0].shape[1:], 10
    networks = {
        f"{n} hidden": lambda n=n: MLP((inputs * inputs, n, labels)) for n in given["hidden"]
    }
    curve = learning_curve(
        networks,
        given["data"],
        given["sizes"],
        given["seeds"],
        steps=given["steps"],
        batch_size=given["batch_size"],
        metric="error_rate",
        optimizer=optim.Adam,
        schedule="cosine",
        path=out / "l16_learning_curves.json" if full else None,
        progress=full,
    )
    print(curve.table(), end="\n\n")
    table(
        ("error on fewer examples ÷ on more", *curve.models),
        [
            (f"{few:,} → {many:,}", *(f"{curve.test_mean[m][i] / curve.test_mean[m][i + 1]:.2f}"
                                      for m in curve.models))
            for i, (few, many) in enumerate(pairwise(curve.train_sizes))
        ],
    )  # fmt: skip
    if full:
        print("Every training:\n" + curve.to_csv())
    picture(out / "l16_learning_curves.png", (7, 4.5), lambda figure: draw(figure, curve, full))
    return curve


def draw(figure: Any, curve: LearningCurve, full: bool) -> None:
    axes = figure.subplots()
    curve.draw(axes, yscale="log")
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    axes.set_yticks(ticks, [f"{t:.0%}" for t in ticks])
    axes.set_yticks([], minor=True)
    axes.set_title(f"{'MNIST' if full else 'Digits'}: one hidden layer, mean ± standard deviation")


if __name__ == "__main__":
    main(*arguments(__doc__, FULL))
