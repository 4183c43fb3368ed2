"""L11: the output layer sets the task.

    binary         one output, sigmoid       L = −y log ŷ − (1 − y) log(1 − ŷ)
    regression     outputs as they are       L = mean of (ŷ − y)²
    multi-class    K outputs, softmax        L = −log ŷ_y

The body of the network is the same, and so is the gradient that starts the backward pass,

    ∂L/∂z = ŷ − y        (times 2/K in regression with K outputs)

The losses take z, the logits, and not ŷ: computed as written above, in float32, a sigmoid that
rounds to 1 gives log 0, and a softmax of large numbers ∞/∞.  From logits any z will do.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import output_folder, picture, table

import nnlib
from nnlib.models import MLP
from nnlib.nn import functional as F

HEADS = {  # task → question, (inputs, targets) from pixels X and digits k, outputs, loss, metric
    "binary": ("is the digit odd?", lambda X, k: (X, np.float32(k % 2)[:, None]),
               1, "bce_with_logits", "binary_accuracy"),
    "regression": ("upper half → lower half", lambda X, k: (X[:, :32], X[:, 32:]),
                   32, "mse", "mse"),
    "multi-class": ("which digit?", lambda X, k: (X, k),
                    10, "cross_entropy", "accuracy"),
}  # fmt: skip


def train(task: str, epochs: int) -> tuple[Any, float, float]:
    """Train a head on the digits.

    Return its outputs for the test images, the metric, and that of the best constant answer.
    """
    _, select, outputs, loss, metric = HEADS[task]
    learn, new = (select(x.reshape(-1, 64), k) for x, k in (d.arrays for d in nnlib.data.digits()))
    nnlib.manual_seed(0)
    model = MLP((learn[0].shape[1], 64, outputs), "tanh")
    optimizer = nnlib.optim.Adam(model.parameters(), lr=0.003)
    trainer = nnlib.Trainer(model, loss, optimizer, [metric], progress=False)
    trainer.fit(learn, epochs=epochs)
    counts = np.unique(new[1], return_counts=True)[1]
    constant = new[1].var(axis=0).mean() if metric == "mse" else counts.max() / counts.sum()
    return trainer.predict(new[0]), trainer.evaluate(new)[metric], float(constant)


@np.errstate(all="ignore")
def as_written(z: float, y: int) -> tuple[float, float]:
    """Return the binary loss of z and the two-class loss of (0, z), by the formulas, in float32."""
    z = np.float32([0, z])
    ŷ, e = 1 / (1 + np.exp(-z[1])), np.exp(z)
    return float(-y * np.log(ŷ) - (1 - y) * np.log(1 - ŷ)), float(-np.log(e[y] / e.sum()))


def from_logits(z: float, y: int) -> tuple[float, float, list[float]]:
    """Return nnlib's losses of the same, and their gradients by z."""
    one = nnlib.tensor([z], requires_grad=True)
    two = nnlib.tensor([[0.0, z]], requires_grad=True)
    binary = F.binary_cross_entropy_with_logits(one, nnlib.tensor([float(y)]))
    classes = F.cross_entropy(two, nnlib.tensor([y]))
    (binary + classes).backward()
    return binary.item(), classes.item(), [one.grad.tolist()[0], two.grad.tolist()[0][1]]


def main(out: Path, epochs: int = 20) -> dict[str, Any]:
    results = {task: train(task, epochs) for task in HEADS}
    table(
        ("task", "question", "outputs", "metric", "on test images", "best constant"),
        [
            (task, HEADS[task][0], HEADS[task][2], HEADS[task][4], f"{metric:.3f}", f"{guess:.3f}")
            for task, (_, metric, guess) in results.items()
        ],
    )
    cases = [(z, y) for z in (-1e4, -100.0, 0.0, 100.0, 1e4) for y in (0, 1)]
    losses = [(z, y, as_written(z, y), from_logits(z, y)) for z, y in cases]
    table(
        (
            "z",
            "y",
            "sigmoid: as written",
            "nnlib",
            "softmax: as written",
            "nnlib",
            "sigmoid: ∂L/∂z",
        ),
        [
            (f"{z:g}", y, *(f"{v + 0.0:.4g}" for v in (a[0], b[0], a[1], b[1], b[2][0])))
            for z, y, a, b in losses
        ],
    )
    picture(out / "l11_heads.png", (11, 3.8), lambda figure: draw(figure, results))
    return {"metrics": {task: metrics for task, (_, *metrics) in results.items()}, "losses": losses}


def draw(figure: Any, results: dict[str, Any]) -> None:
    left, middle, right = figure.subfigures(1, 3)
    axes = left.subplots()
    z = np.linspace(-40, 40, 321)
    axes.plot(z, [from_logits(v, 0)[0] for v in z], color="0.8", linewidth=6, label="from logits")
    axes.plot(z, [as_written(v, 0)[0] for v in z], label="as written: ∞ from z = 17")
    axes.set(title="Binary: loss for y = 0, in float32", xlabel="z", ylabel="L")
    axes.legend()

    images = nnlib.data.digits()[1].arrays[0][:, :, :, 0]
    middle.suptitle("Regression: true images, and the lower half ŷ", fontsize="medium")
    tiles = middle.subplots(2, 4)
    for i, (true, guess) in enumerate(tiles.T):
        lower = results["regression"][0][i].reshape(4, 8)
        true.imshow(images[i], cmap="Greys", vmin=0, vmax=1)
        guess.imshow(np.vstack([images[i, :4], lower]), cmap="Greys", vmin=0, vmax=1)
        guess.axhline(3.5, color="C3", linewidth=1)
    for tile in tiles.flat:
        tile.axis("off")

    axes = right.subplots()
    z = results["multi-class"][0][:10]
    shown = axes.imshow(nnlib.softmax(nnlib.tensor(z)).numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(title="Multi-class: ŷ of ten test images", xlabel="class k")
    axes.set(xticks=range(10), yticks=range(10), yticklabels=nnlib.data.digits()[1].arrays[1][:10])
    axes.set_ylabel("image (its true class)")
    right.colorbar(shown, ax=axes, label="probability ŷ", location="bottom", aspect=30)


if __name__ == "__main__":
    main(output_folder(__doc__))
