"""L8: deep feed-forward networks are functions of functions.

    ŷ = f[L](… f[2](f[1](x)))        f[l](a) = g(W[l] a + b[l])

The bias can be folded into one matrix θ[l] = (W[l] b[l]) by appending a 1 to every layer's input:

    W a + b = θ (a, 1)

Both forms are the same function, with the same gradient ∂J/∂θ = (∂J/∂W ∂J/∂b), at any depth; the
table gives the largest difference in float32.  The networks learn to tell two spirals apart, with
two neurons a layer.  The picture shows why depth helps: each layer bends the plane a little, until
a straight line separates the classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import here, output_folder, picture, table

import nnlib
from nnlib import nn
from nnlib.models import MLP
from nnlib.nn import functional as F


def spirals(m: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return points (m, 2) on two arms, and the arm of each (m, 1)."""
    random = np.random.default_rng(0)
    radius, arm = np.sqrt(random.uniform(0.02, 1, m)), np.arange(m) % 2
    angle = 1.8 * np.pi * radius + np.pi * arm
    points = 2 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (points + random.normal(0, 0.03, (m, 2))).astype("float32"), arm[:, None].astype(
        "float32"
    )


def train(depth: int, X: nnlib.Tensor, y: nnlib.Tensor, steps: int) -> tuple[MLP, float]:
    """Train 2-2-…-1; return the network and its share of wrong answers."""
    nnlib.manual_seed(0)
    network = MLP((2,) * depth + (1,), "tanh")
    for W in network.parameters():
        _ = nn.init.xavier_normal_(W, gain=5 / 3) if W.ndim == 2 else nn.init.zeros_(W)
    optimizer = nnlib.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(network(X), y).backward()
        optimizer.step()
    return network, float(np.mean((network(X).numpy() > 0) != y.numpy()))


def compare(network: MLP, X: nnlib.Tensor, y: nnlib.Tensor) -> tuple[float, float]:
    """Return the differences of the θ form: of the output, and of the gradient."""
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    joined = [np.column_stack([layer.weight.numpy(), layer.bias.numpy()]) for layer in layers]
    thetas = here(*joined)
    for θ in thetas:
        θ.requires_grad = True
    a = X
    for θ in thetas:
        a = nnlib.tanh(a) if θ is not thetas[0] else a
        a = nnlib.concatenate([a, nnlib.ones(len(a), 1)], axis=1) @ θ.T
    z = network(X)
    network.zero_grad()
    for output in (a, z):
        F.binary_cross_entropy_with_logits(output, y).backward()
    gradients = [np.column_stack([n.weight.grad.numpy(), n.bias.grad.numpy()]) for n in layers]
    gaps = [np.abs(θ.grad.numpy() - g).max() for θ, g in zip(thetas, gradients, strict=True)]
    return float(np.abs(a.numpy() - z.numpy()).max()), float(max(gaps))


def main(out: Path, depths: tuple[int, ...] = (1, 2, 3, 4, 6), steps: int = 600) -> list[Any]:
    points, arms = spirals()
    X, y = here(points, arms)
    results = []
    for depth in depths:
        network, error = train(depth, X, y, steps)
        results.append((depth, network, error, *compare(network, X, y)))
    table(
        ("layers", "network", "parameters", "training error", "θ form: output", "gradient"),
        [
            (L, "-".join(map(str, net.sizes)), sum(p.size for p in net.parameters()), f"{e:.1%}",
             f"{output:.0e}", f"{gradient:.0e}")
            for L, net, e, output, gradient in results
        ],
    )  # fmt: skip
    deep = next((network for L, network, *_ in results if L == 4), results[-1][1])
    picture(out / "l08_depth.png", (12, 3.6), lambda figure: draw(figure, deep, points, arms[:, 0]))
    return results


@nnlib.no_grad()
def draw(figure: Any, network: MLP, points: np.ndarray, arms: np.ndarray) -> None:
    """Show the plane, with a grid on it, after each hidden layer, and the line that decides."""
    *hidden, last = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    t, lines = np.linspace(-2, 2, 81), np.linspace(-2, 2, 17)
    grid = np.array([[(c, v) for v in t] for c in lines] + [[(v, c) for v in t] for c in lines])
    a, grid = here(points, grid.astype("float32"))
    for i, axes in enumerate(figure.subplots(1, len(hidden) + 1)):
        if i:
            a, grid = nnlib.tanh(hidden[i - 1](a)), nnlib.tanh(hidden[i - 1](grid))
            axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
        for line in grid.numpy():
            axes.plot(*line.T, color="0.8", linewidth=0.7, zorder=1)
        axes.scatter(*a.numpy().T, c=np.where(arms, "C1", "C0"), s=8, zorder=2)
        axes.set(title=f"after layer {i}: a[{i}]" if i else "input: a[0] = x", aspect="equal")
        axes.set(xlabel=f"a[{i}]₁", ylabel=f"a[{i}]₂")
    name = "-".join(map(str, network.sizes))
    figure.suptitle(f"What the layers of a {name} network do (dashed: where the last one decides)")
    (w1, w2), b = last.weight.numpy()[0], last.bias.item()
    axes.axline(
        (0, -b / w2), slope=-w1 / w2, color="0.2", linestyle="--"
    )  # where W[L] a + b[L] = 0


if __name__ == "__main__":
    main(output_folder(__doc__))
