"""L10: one hidden layer can fit any continuous function; linear layers fit only straight lines.

Cybenko (1989): with a sigmoidal g, a sum of enough neurons comes as close as one likes to any
continuous f on an interval,

    f(x) ≈ Σᵢ W[2]ᵢ g(W[1]ᵢ x + b[1]ᵢ) + b[2]

so the error falls as the hidden layer gets wider.  Without g, layers collapse to one linear map,

    W[3] (W[2] (W[1] x + b[1]) + b[2]) + b[3]  =  W x + b

and no width or depth gets below the error of the best straight line.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import here, output_folder, picture, table

import nnlib
from nnlib import nn
from nnlib.models import MLP

x = np.linspace(-1, 1, 100, dtype=np.float32)[:, None]
f = np.sin(9 * x) * (1 + x)


def fit(sizes: tuple[int, ...], activation: str, steps: int, seed: int) -> tuple[Any, float]:
    """Train on f; return the network and its root mean square error."""
    nnlib.manual_seed(seed)
    network = MLP(sizes, activation)
    nn.init.uniform_(network.layers.linear1.weight, -9, 9)  # neurons as steep as f,
    nn.init.uniform_(network.layers.linear1.bias, -9, 9)  # spread over the interval
    optimizer = nnlib.optim.Adam(network.parameters(), lr=0.05)
    schedule = nnlib.optim.schedules.CosineAnnealingLR(optimizer, steps)
    (inputs, targets), loss = here(x, f), nn.MSELoss()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(network(inputs), targets).backward()
        optimizer.step()
        schedule.step()
    with nnlib.no_grad():
        return network, loss(network(inputs), targets).item() ** 0.5


def collapse(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Multiply the layers of a linear network out to one W and b."""
    W, b = np.eye(network.sizes[0]), np.zeros(network.sizes[0])
    for layer in network.layers:
        if isinstance(layer, nn.Linear):
            W, b = layer.weight.numpy() @ W, layer.weight.numpy() @ b + layer.bias.numpy()
    return W, b


def main(
    out: Path, widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32), steps: int = 1000, seeds: int = 3
) -> dict[str, Any]:
    fits = {n: [fit((1, n, 1), "tanh", steps, seed) for seed in range(seeds)] for n in widths}
    errors = {n: [error for _, error in tries] for n, tries in fits.items()}
    linear, linear_error = fit((1, 16, 16, 1), "identity", steps, seed=0)
    W, b = collapse(linear)
    with nnlib.no_grad():
        gap = float(np.abs(x @ W.T + b - linear(*here(x)).numpy()).max())
    line = np.polyfit(x[:, 0], f[:, 0], 1)
    line_error = float(np.sqrt(np.mean((np.polyval(line, x) - f) ** 2)))

    table(
        ("network", "root mean square error", "worst", "best"),
        [
            *((f"1-{n}-1 tanh", *(f"{v:.4f}" for v in (np.median(e), max(e), min(e))))
              for n, e in errors.items()),
            ("1-16-16-1 linear", f"{linear_error:.4f}", "", ""),
            ("best straight line", f"{line_error:.4f}", "", ""),
        ],
    )  # fmt: skip
    print(f"The linear layers, multiplied out: y = {W[0, 0]:.4f} x + {b[0]:.4f} (within {gap:.0e})")
    print(f"The best straight line:            y = {line[0]:.4f} x + {line[1]:.4f}\n")
    few, some, many = widths[0], widths[len(widths) // 2], widths[-1]
    shown = {f"1-{n}-1 tanh": fits[n][0][0] for n in (few, some, many)}
    shown["1-16-16-1 linear"] = linear
    path = out / "l10_universality.png"
    picture(path, (11, 4), lambda figure: draw(figure, shown, errors, line_error))
    return {"errors": errors, "linear": linear_error, "line": line_error, "gap": gap}


def draw(figure: Any, shown: dict[str, Any], errors: dict[int, Any], line_error: float) -> None:
    left, right = figure.subplots(1, 2)
    left.plot(x, f, color="0.75", linewidth=6, label="f(x)")
    for name, network in shown.items():
        with nnlib.no_grad():
            left.plot(x, network(*here(x)).numpy(), label=name)
    left.set(xlabel="x", ylabel="y", title="Fits")
    left.legend(fontsize="small")
    widths = list(errors)
    right.loglog(widths, [np.median(e) for e in errors.values()], marker="o", label="median")
    for n, tries in errors.items():
        right.loglog([n] * len(tries), tries, ".", color="0.6")
    right.axhline(line_error, color="C3", linestyle="--", label="best straight line")
    right.set(xlabel="width: neurons in the hidden layer", ylabel="root mean square error")
    right.set(title="Error against width (dots: each training)")
    right.set_xticks(widths, map(str, widths), minor=False)
    right.set_xticks([], minor=True)
    right.grid(alpha=0.3)
    right.legend()


if __name__ == "__main__":
    main(output_folder(__doc__))
