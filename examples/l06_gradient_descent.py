"""L6: gradient descent, on all instances at once and on small batches.

    J = (1/m) Σ L(ŷ, y)              W ← W − α ∂J/∂W

The gradient of all m instances points down the cost surface exactly, but gives one step an epoch.
The gradient of a small batch is a noisy estimate of it, but gives many steps for the same work, and
the cost falls much faster.  The noise also means that the cost no longer falls in every step.
"""

from pathlib import Path
from time import perf_counter
from typing import Any

from course import here, output_folder, picture, table

import nnlib
from nnlib import nn
from nnlib.nn import functional as F

α = 0.3  # learning rate


def descend(batch_size: int, epochs: int) -> list[tuple[float, float]]:
    """Train on the digits; return (seconds, cost on all instances) before and after each epoch."""
    nnlib.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    train, _ = nnlib.data.digits()
    loader = nnlib.data.DataLoader(train, batch_size, shuffle=True)
    images, labels = here(*train.arrays)
    course, spent = [(0.0, F.cross_entropy(model(images), labels).item())], 0.0
    for _ in range(epochs):
        begin = perf_counter()
        for x, y in loader:
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with nnlib.no_grad():
                for W in model.parameters():
                    W -= α * W.grad
        spent += perf_counter() - begin
        course.append((spent, F.cross_entropy(model(images), labels).item()))
    return course


def main(out: Path, epochs: int = 20) -> dict[int, Any]:
    m = len(nnlib.data.digits()[0])
    courses = {size: descend(size, epochs) for size in (m, 128, 16)}
    table(
        ("batch size", "steps an epoch", "J after 1 epoch", f"J after {epochs}", "seconds"),
        [
            (f"{size} (all)" if size == m else size, -(-m // size),
             f"{c[1][1]:.3f}", f"{c[-1][1]:.4f}", f"{c[-1][0]:.2f}")
            for size, c in courses.items()
        ],
    )  # fmt: skip
    picture(out / "l06_gradient_descent.png", (9, 3.8), lambda figure: draw(figure, courses, m))
    return courses


def draw(figure: Any, courses: dict[int, Any], m: int) -> None:
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for size, course in courses.items():
        label = f"all {m} instances" if size == m else f"batches of {size}"
        seconds, costs = zip(*course, strict=True)
        by_epoch.semilogy(costs, label=label)
        by_time.semilogy(seconds, costs, label=label)
    by_epoch.set(xlabel="epochs", ylabel="cost J on all training instances")
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_time.set(xlabel="training time, s")
    by_epoch.legend()
    figure.suptitle(f"Gradient descent on the digits: 64-32-10 network, α = {α}")
    for axes in (by_epoch, by_time):
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    main(output_folder(__doc__))
