"""L1: fixed features and a trained classifier, against learned representations.

Classical pattern recognition trains a classifier on features chosen by hand, here the raw pixels
(logistic regression):

    ŷ = softmax(W x + b)

A multi-layer network also learns its features, one in each hidden neuron, in the same training:

    ŷ = softmax(W[2] a + b[2])        a = g(W[1] x + b[1])

Both learn two tasks on the same handwritten digits, 1,442 for training and 355 for testing.  For
"which digit is it?" pixels are good features.  For "is it odd?" they are not, because the odd
digits have no shape in common; the network learns features for that, too.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import output_folder, picture, table

import nnlib
from nnlib.data import ArrayDataset
from nnlib.models import MLP

QUESTIONS = {"which digit?": 10, "is it odd?": 2}  # number of answers
MODELS = {"logistic regression": (), "multi-layer network": (32,)}  # hidden layers


def train(answers: int, hidden: tuple[int, ...], seed: int, epochs: int) -> tuple[MLP, Any]:
    """Train on one question; return the model and the history of its errors."""
    nnlib.manual_seed(seed)
    digits = [ArrayDataset(images, labels % answers) for images, labels in
              (part.arrays for part in nnlib.data.digits())]  # fmt: skip
    model = MLP((64, *hidden, answers), "relu")
    optimizer = nnlib.optim.Adam(model.parameters(), lr=0.01)
    trainer = nnlib.Trainer(model, "cross_entropy", optimizer, ["error_rate"], progress=False)
    return model, trainer.fit(digits[0], val=digits[1], epochs=epochs, batch_size=64)


def main(out: Path, epochs: int = 40, seeds: int = 3) -> dict[tuple[str, str], Any]:
    runs = {
        (question, name): [train(answers, hidden, seed, epochs) for seed in range(seeds)]
        for question, answers in QUESTIONS.items()
        for name, hidden in MODELS.items()
    }
    rows, errors = [], {}
    for (question, name), tries in runs.items():
        size = sum(p.size for p in tries[0][0].parameters())
        train_error = np.mean([history["error_rate"][-1] for _, history in tries])
        errors[question, name] = [history["val_error_rate"][-1] for _, history in tries]
        low, high = min(errors[question, name]), max(errors[question, name])
        mean = np.mean(errors[question, name])
        rows.append((question, name, f"{size:,}", f"{train_error:.1%}", f"{mean:.1%}",
                     f"{low:.1%} … {high:.1%}"))  # fmt: skip
    table(
        ("question", "model", "parameters", "training error", "test error", f"{seeds} starts"),
        rows,
    )
    path = out / "l01_learned_features.png"
    picture(path, (11, 4), lambda figure: draw(figure, runs))
    return errors


def draw(figure: Any, runs: dict[tuple[str, str], Any]) -> None:
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.7, 0.7, 1))
    axes = left.subplots()
    for (question, name), tries in runs.items():
        curve = 100 * np.mean([history["val_error_rate"] for _, history in tries], axis=0)
        colour = "C0" if name == "logistic regression" else "C1"
        line = "-" if question == "is it odd?" else ":"
        axes.plot(range(1, 1 + len(curve)), curve, line, color=colour, label=f"{question} {name}")
    axes.set(xlabel="epochs", ylabel="test error, %", ylim=(0, 20))
    axes.set_title(f"Handwritten digits, mean of {len(tries)} starts")
    axes.grid(alpha=0.3)
    axes.legend()
    ((logistic, _), *_), ((network, _), *_) = list(runs.values())[2:]  # "is it odd?"
    W = logistic.layers.linear1.weight.numpy()
    show(middle, W[1:] - W[:1], (1, 1), "Logistic regression:\nthe pixels' weights for “odd”")
    W = network.layers.linear1.weight.numpy()
    show(right, W, (4, 4), "Network: what 16 of its\n32 features weigh")


def show(figure: Any, W: np.ndarray, grid: tuple[int, int], title: str) -> None:
    """Show rows of weights as images of 8 × 8: blue for positive, red for negative."""
    figure.suptitle(title, fontsize="medium")
    for tile, w in zip(figure.subplots(*grid, squeeze=False).flat, W, strict=False):
        tile.imshow(w.reshape(8, 8), cmap="RdBu", vmin=-np.abs(w).max(), vmax=np.abs(w).max())
        tile.axis("off")


if __name__ == "__main__":
    main(output_folder(__doc__))
