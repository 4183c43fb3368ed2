"""L9: activation functions and their derivatives.

    sigmoid   h = 1 / (1 + e⁻ˣ)         h' = h (1 − h)
    tanh      h = tanh x                h' = 1 − h²
    softplus  h = log(1 + eˣ)           h' = σ(x)
    ReLU      h = max(0, x)             h' = 1 for x > 0, else 0

ReLU has no derivative at 0.  The course takes h'(0) = 1; nnlib takes 0, as every framework does.
ELU, GELU and SiLU have no such corner.  The derivatives drawn here are nnlib's own, by the backward
pass; the table compares them with the formulas on 1,201 points from −6 to 6.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import here, output_folder, picture, table

import nnlib
from nnlib.nn import functional as F

COURSE = {  # name → function, the course's formula for the derivative
    "sigmoid": (F.sigmoid, "h (1 − h)", lambda x, h: h * (1 - h)),
    "tanh": (F.tanh, "1 − h²", lambda x, h: 1 - h**2),
    "softplus": (F.softplus, "σ(x)", lambda x, h: 1 / (1 + np.exp(-x))),
    "ReLU": (F.relu, "1 for x > 0, else 0", lambda x, h: (x > 0).astype(float)),
}
MODERN = {
    "leaky ReLU": F.leaky_relu,
    "ELU": F.elu,
    "GELU": F.gelu,
    "SiLU": F.silu,
}


def curve(function: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return h(x) and h'(x)."""
    (points,) = here(x)
    points.requires_grad = True
    h = function(points)
    h.sum().backward()  # each point has its own derivative: the sum takes all of them at once
    return h.numpy(), points.grad.numpy()


def main(out: Path) -> dict[str, dict[str, float]]:
    x = np.linspace(-6, 6, 1201)
    functions = {name: function for name, (function, _, _) in COURSE.items()} | MODERN
    curves = {name: curve(function, x) for name, function in functions.items()}
    results = {}
    for name, (h, slope) in curves.items():
        formula = COURSE[name][2](x, h) if name in COURSE else np.gradient(h, x)
        at_zero = nnlib.grad(functions[name])(0.0).item()
        results[name] = {
            "error": float(np.abs(slope - formula).max()),
            "at_zero": at_zero,
            "largest": float(slope.max()),
        }
    table(
        ("activation", "derivative h'", "largest error", "h'(0)", "largest h'"),
        [
            (name, COURSE[name][1], f"{results[name]['error']:.0e}",
             f"{results[name]['at_zero']:g}", f"{results[name]['largest']:.3f}")
            for name in COURSE
        ],
    )  # fmt: skip
    table(
        ("modern", "h'(0)", "largest h'"),
        [(n, f"{results[n]['at_zero']:g}", f"{results[n]['largest']:.3f}") for n in MODERN],
    )
    picture(out / "l09_activations.png", (11, 5), lambda figure: draw(figure, x, curves))
    return results


def draw(figure: Any, x: np.ndarray, curves: dict[str, Any]) -> None:
    near = np.abs(x) <= 4
    for axes, (name, (h, slope)) in zip(figure.subplots(2, 4).flat, curves.items(), strict=True):
        corner = np.where(np.abs(np.diff(slope[near], append=np.nan)) > 0.3, np.nan, slope[near])
        axes.axhline(0, color="0.8", linewidth=1)
        axes.axvline(0, color="0.8", linewidth=1)
        axes.plot(x[near], h[near], label="h(x)")
        axes.plot(x[near], corner, linestyle="--", label="h'(x)")
        axes.set(title=name, xlabel="x", xlim=(-4, 4), ylim=(-1.2, 2.2))
        if name == "ReLU":
            axes.plot(0, 0, "o", color="C1")
            axes.plot(0, 1, "o", color="C1", fillstyle="none")
            axes.annotate("h'(0): nnlib 0 (●),\nthe course 1 (○)", (0, 1), (-3.8, 1.3), fontsize=8)
        if name == "sigmoid":
            axes.legend(loc="upper left")
    figure.suptitle("Activation functions and their derivatives")


if __name__ == "__main__":
    main(output_folder(__doc__))
