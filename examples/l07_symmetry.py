"""L7: why weights do not start at zero.

Hidden neurons that start alike compute the same, so they get the same gradient, so they stay alike:
in every step of training

    all rows of ∂J/∂W[1] are equal        (its columns, where a neuron's weights are a column)

and a layer of 32 neurons is worth one.  Random numbers break the symmetry.  Biases may start at 0.

Rounding errors break it, too: they depend on the order of summation, and grow with every step.
In float32 the neurons can differ after 20 epochs; in float64, as here, that takes longer.

Random numbers that are too small break it late.  There are rules for their size (LeCun 1998, Glorot
2010, He 2015, Saxe 2014), which matter more the deeper the network is; in this small one, 64-32-10
with sigmoid neurons, trained on the digits, they do equally well.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import here, output_folder, picture, table

import nnlib
from nnlib import nn
from nnlib.nn import functional as F

STARTS = {
    "zero": nn.init.zeros_,
    "all 0.1": lambda W: nn.init.constant_(W, 0.1),
    "uniform ±0.01": lambda W: nn.init.uniform_(W, -0.01, 0.01),
    "LeCun": nn.init.lecun_normal_,
    "Xavier/Glorot": nn.init.xavier_normal_,
    "He": nn.init.kaiming_normal_,
    "orthogonal": nn.init.orthogonal_,
}
SEEN = 1e-4  # smaller differences between weights are rounding errors


def train(start: Any, epochs: int) -> dict[str, Any]:
    """Train from initial weights; return measurements of the hidden layer."""
    nnlib.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10))
    model.astype("float64")
    for layer in (model[1], model[3]):
        start(layer.weight)
        nn.init.zeros_(layer.bias)
    train_set, test_set = nnlib.data.digits()
    images, labels = here(*test_set.arrays)
    images = images.astype("float64")
    optimizer = nnlib.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    unequal, costs = 0.0, []  # largest difference between two rows of ∂J/∂W[1], in all steps
    for _ in range(epochs):
        for x, y in nnlib.data.DataLoader(train_set, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x.astype("float64")), y).backward()
            gradient = model[1].weight.grad.numpy()  # (32, 64): a row for each hidden neuron
            unequal = max(unequal, float(np.abs(gradient - gradient[0]).max()))
            optimizer.step()
        with nnlib.no_grad():
            logits = model(images)
            costs.append(F.cross_entropy(logits, labels).item())
            error = 1 - np.mean(logits.numpy().argmax(axis=1) == test_set.arrays[1])
    W = model[1].weight.numpy()
    unlike = int((np.abs(W - W[0]).max(axis=1) > SEEN).sum())
    return {"unequal": unequal, "unlike": unlike, "costs": costs, "error": error, "W": W}


def main(out: Path, epochs: int = 20) -> dict[str, dict[str, Any]]:
    results = {name: train(start, epochs) for name, start in STARTS.items()}
    table(
        ("W[l] starts", "∂J/∂W[1] rows: gap", "neurons unlike the first", "test J", "test error"),
        [
            (name, f"{r['unequal']:.2g}", f"{r['unlike']} of 31", f"{r['costs'][-1]:.3f}",
             f"{r['error']:.1%}")
            for name, r in results.items()
        ],
    )  # fmt: skip
    picture(out / "l07_symmetry.png", (11, 4), lambda figure: draw(figure, results))
    return results


def draw(figure: Any, results: dict[str, Any]) -> None:
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    for name, r in results.items():
        axes.semilogy(range(1, 1 + len(r["costs"])), r["costs"], label=name)
    axes.set(title="Training from different starts", ylabel="cost J on the test set")
    axes.set(xlabel="epochs", xticks=range(0, 1 + len(r["costs"]), 5))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    right.suptitle("W[1] after training: 6 of the 32 neurons", fontsize="medium")
    shown = ("zero", "all 0.1", "Xavier/Glorot")
    for name, tiles in zip(shown, right.subplots(len(shown), 6), strict=True):
        W = results[name]["W"]
        limit = np.abs(W).max()
        for i, tile in enumerate(tiles):
            tile.imshow(W[i].reshape(8, 8), cmap="RdBu", vmin=-limit, vmax=limit)
            tile.set(xticks=[], yticks=[], ylabel="" if i else name)


if __name__ == "__main__":
    main(output_folder(__doc__))
