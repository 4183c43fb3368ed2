"""L4: a network, its neurons and its layers.

A network is described by n[0], n[1], …, n[L]: the number of input features, then of neurons in each
layer.  Every neuron of layer l has one weight for each neuron of layer l−1, and a bias:

    W[l]: n[l] × n[l−1]      b[l]: n[l]      parameters = Σ n[l] · (n[l−1] + 1)

Layer 0 is the input and has no parameters.  The 2-3-1 network has 6 + 3 + 3 + 1 = 13.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

from course import output_folder, picture, table

import nnlib
from nnlib import nn

SIZES = (2, 3, 1)


def main(out: Path) -> nn.Module:
    network = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid())
    print(nnlib.summary(network, input_shape=(2,)), end="\n\n")

    rows = [
        (name, " × ".join(map(str, parameter.shape)), parameter.size)
        for name, parameter in network.named_parameters()
    ]
    total = sum(parameter.size for parameter in network.parameters())
    table(("parameter", "shape", "values"), [*rows, ("all", "", total)])
    picture(out / "l04_network.png", (7, 4), draw)
    return network


def draw(figure: Any) -> None:
    axes = figure.subplots()
    axes.set(xlim=(-0.6, 2.6), ylim=(-1.9, 1.5), aspect="equal", title="The 2-3-1 network")
    axes.axis("off")
    places = [[(x, (n - 1) / 2 - i) for i in range(n)] for x, n in enumerate(SIZES)]
    for before, after in pairwise(places):
        for x0, y0 in before:
            for x1, y1 in after:
                axes.plot((x0, x1), (y0, y1), color="0.7", linewidth=1, zorder=1)
    for x, neurons in enumerate(places):
        for i, (_, y) in enumerate(neurons, start=1):
            colour = "#fde3c8" if x else "#dbe9f6"
            axes.scatter(x, y, s=1500, color=colour, edgecolor="0.35", linewidth=1, zorder=2)
            text = f"$a_{i}^{{[{x}]}}$" if x else f"$x_{i}$"
            axes.text(x, y, text, ha="center", va="center", fontsize=13)
        n, before = SIZES[x], SIZES[x - 1]
        what = f"W[{x}]: {n} × {before}\nb[{x}]: {n}" if x else "the input:\nno parameters"
        axes.text(x, -1.45, f"layer {x}\n{what}", ha="center", va="top", fontsize=10)


if __name__ == "__main__":
    main(output_folder(__doc__))
