"""L12: a playground: two input features, and the decision surface while the network learns.

Points of two classes, y = −1 (orange) and y = +1 (blue), in four patterns.  The network sees the
two coordinates and nothing else:

    ŷ = tanh(W[3] a[2] + b[3])        a[l] = tanh(W[l] a[l−1] + b[l])        a[0] = (x₁, x₂)

It is trained as in the TensorFlow playground: mean squared error, plain gradient descent, batches
of 10, learning rate 0.01.  The surface is ŷ for every point of the plane.  It begins almost flat,
and a straight line soon separates "gauss".  The other patterns need trained hidden neurons first,
and until then the loss hardly falls: for some 20 epochs in "circle" and "xor", for more than 100
in "spiral".
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import here, output_folder, picture, table

import nnlib
from nnlib import nn, optim
from nnlib.data import ArrayDataset, DataLoader
from nnlib.models import MLP

α, BATCH, POINTS = 0.01, 10, 500  # half of the points are for testing
SIDE = 6.0  # the plane is drawn from −6 to 6


def circle(random: Any, y: np.ndarray) -> Any:
    r = np.where(y > 0, random.uniform(0, 2.5, len(y)), random.uniform(3.5, 5, len(y)))
    angle = random.uniform(0, 2 * np.pi, len(y))
    return r * np.sin(angle), r * np.cos(angle)


def xor(random: Any, y: np.ndarray) -> Any:
    x1, x2 = random.uniform(0.3, 5.3, (2, len(y)))
    sign = random.choice([-1, 1], len(y))
    return sign * x1, sign * y * x2  # the signs are equal where y = 1


def gauss(random: Any, y: np.ndarray) -> Any:
    return random.normal(2 * y), random.normal(2 * y)


def spiral(random: Any, y: np.ndarray) -> Any:
    t = np.linspace(0, 1, len(y))
    angle = 3.5 * np.pi * t + np.pi * (y > 0)
    return 5 * t * np.sin(angle), 5 * t * np.cos(angle)


PATTERNS = {circle: (4, 2), xor: (4, 2), gauss: (4, 2), spiral: (8, 8)}  # with hidden neurons


def points(pattern: Any, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Make (x, y) to train with, and as many to test with: float32, (N, 2) and (N, 1)."""
    random, y = np.random.default_rng(seed), np.tile([-1, 1], POINTS // 2)
    x = np.stack(pattern(random, y), axis=1)
    order = random.permutation(POINTS)
    halves = np.split(order, 2)
    return [(x[half].astype(np.float32), y[half, None].astype(np.float32)) for half in halves]


def train(
    pattern: Any, hidden: tuple[int, ...], moments: tuple[int, ...]
) -> tuple[dict[int, np.ndarray], np.ndarray, float]:
    """Train; return the surface at each moment, the losses after each epoch, the test accuracy."""
    nnlib.manual_seed(0)
    learn, new = points(pattern)
    model = nn.Sequential(MLP((2, *hidden, 1), "tanh"), nn.Tanh())
    optimizer = optim.SGD(model.parameters(), lr=α)
    loss = nn.MSELoss()

    @nnlib.compile
    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    @nnlib.compile
    @nnlib.no_grad()
    def losses(x: Any, y: Any, new_x: Any, new_y: Any) -> Any:
        return nnlib.stack([loss(model(x), y), loss(model(new_x), new_y)])

    loader = DataLoader(ArrayDataset(*learn), BATCH, shuffle=True)
    everything, surfaces, course = here(*learn, *new), {}, []
    for epoch in range(moments[-1] + 1):
        course.append(losses(*everything).numpy())
        if epoch in moments:
            surfaces[epoch] = surface(model)
        if epoch < moments[-1]:
            for x, y in loader:
                step(x, y)
    with nnlib.no_grad():
        right = np.sign(model(everything[2]).numpy()) == new[1]
    return surfaces, np.array(course), float(right.mean())


def surface(model: nn.Module, side: int = 100) -> np.ndarray:
    """Return ŷ over the plane, (side, side)."""
    axis = np.linspace(-SIDE, SIDE, side, dtype=np.float32)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    with nnlib.no_grad():
        return model(*here(plane)).numpy().reshape(side, side)


def main(out: Path, moments: tuple[int, ...] = (0, 10, 40, 100, 300, 1000)) -> dict[str, Any]:
    results = {
        pattern.__name__: train(pattern, hidden, moments) for pattern, hidden in PATTERNS.items()
    }
    table(
        ("pattern", "network", *(f"J, epoch {epoch}" for epoch in moments), "test accuracy"),
        [
            (name, "-".join(map(str, (2, *hidden, 1))),
             *(f"{course[epoch][0]:.3f}" for epoch in moments), f"{accuracy:.1%}")
            for hidden, (name, (_, course, accuracy))
            in zip(PATTERNS.values(), results.items(), strict=True)
        ],
    )  # fmt: skip
    picture(out / "l12_playground.png", (14.5, 8.4), lambda figure: draw(figure, results))
    return results


def draw(figure: Any, results: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("playground", ["#f59322", "#f4f4f4", "#0877bd"])
    moments = list(next(iter(results.values()))[0])
    grid = figure.subplots(4, len(moments) + 1, width_ratios=[1] * len(moments) + [1.5])
    for row, pattern, (surfaces, course, _) in zip(grid, PATTERNS, results.values(), strict=True):
        (x, y), _ = points(pattern)
        for axes, (epoch, values) in zip(row, surfaces.items(), strict=False):
            extent = (-SIDE, SIDE, -SIDE, SIDE)
            axes.imshow(values, cmap=colours, vmin=-1, vmax=1, origin="lower", extent=extent)
            axes.scatter(*x.T, s=7, c=y[:, 0], cmap=colours, vmin=-1, vmax=1,
                         edgecolors="white", linewidths=0.4)  # fmt: skip
            axes.set(xticks=[], yticks=[])
            if pattern is circle:
                axes.set_title(f"epoch {epoch}")
        sizes = "-".join(map(str, (2, *PATTERNS[pattern], 1)))
        row[0].set_ylabel(f"{pattern.__name__}\n{sizes}")
        row[-1].plot(course[:, 1], color="0.6", label="test")
        row[-1].plot(course[:, 0], color="black", linewidth=1.2, label="training")
        row[-1].set(xscale="symlog", ylim=(0, None), xlim=(0, moments[-1]))
        ticks = [m for m in moments if m]
        row[-1].set_xticks(ticks, ticks if pattern is spiral else [])
        row[-1].set_xticks([], minor=True)
        row[-1].grid(alpha=0.3)
    grid[0, -1].set_title("loss J against epochs")
    grid[0, -1].legend()


if __name__ == "__main__":
    main(output_folder(__doc__))
