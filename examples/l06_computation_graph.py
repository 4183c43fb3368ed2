"""L6: the gradient of the cost, by the chain rule on a computation graph.

One neuron, m instances, the binary cross-entropy as loss:

    z = X wᵀ + b      ŷ = σ(z)      J = (1/m) Σ −[y log ŷ + (1 − y) log(1 − ŷ)]

In the backward pass, every operation passes its gradient on to its inputs:

    ∂J/∂z = (ŷ − y) / m      ∂J/∂w = (∂J/∂z)ᵀ X      ∂J/∂b = Σ ∂J/∂z

`backward` computes them for any graph.  Here it is checked in two independent ways: against the
formulas above, and against finite differences, (J(w + ε) − J(w − ε)) / 2ε.
"""

from pathlib import Path

import numpy as np
from course import here, output_folder, table

import nnlib
from nnlib.autograd import draw_graph, graph_dot


def cost(w: nnlib.Tensor, b: nnlib.Tensor, X: nnlib.Tensor, y: nnlib.Tensor) -> nnlib.Tensor:
    ŷ = nnlib.sigmoid(X @ w.T + b)
    return nnlib.mean(-(y * nnlib.log(ŷ) + (1 - y) * nnlib.log(1 - ŷ)))


def main(out: Path, m: int = 100) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(m, 2))
    y = (X.sum(axis=1, keepdims=True) + random.normal(size=(m, 1)) > 0).astype(float)
    w = nnlib.tensor([[0.5, -1.0]], dtype="float64", requires_grad=True)
    b = nnlib.tensor([0.25], dtype="float64", requires_grad=True)
    data = here(X, y)

    J = cost(w, b, *data)
    J.backward()

    # The chain rule by hand
    dz = (1 / (1 + np.exp(-(X @ w.numpy().T + b.numpy()))) - y) / m
    by_hand = np.array([*(dz.T @ X).ravel(), dz.sum()])

    # Finite differences
    θ = np.array([*w.numpy().ravel(), *b.numpy()])
    steps = 1e-6 * np.eye(3)
    numeric = np.array([(at(θ + ε, data) - at(θ - ε, data)) / 2e-6 for ε in steps])

    found = np.concatenate([w.grad.numpy().ravel(), b.grad.numpy()])
    columns = zip(("∂J/∂w₁", "∂J/∂w₂", "∂J/∂b"), found, by_hand, numeric, strict=True)
    table(
        (f"J = {J.item():.6f}", "backward", "by hand", "finite difference"),
        [(name, *(f"{value:+.10f}" for value in values)) for name, *values in columns],
    )
    nnlib.gradcheck(lambda w, b: cost(w, b, *data), [w, b])  # the same in one line
    print("nnlib.gradcheck agrees (it raises if not).\n")

    names = {"w": w, "b": b, "J": J}
    (out / "l06_computation_graph.dot").write_text(graph_dot(J, names), encoding="utf8")
    try:
        draw_graph(J, names).savefig(out / "l06_computation_graph.png", dpi=150)
        print(f"picture: {out / 'l06_computation_graph.png'} (and .dot, for Graphviz)")
    except nnlib.errors.MissingExtraError as error:
        print(error)
    return {"backward": found, "by hand": by_hand, "numeric": numeric}


def at(θ: np.ndarray, data: list[nnlib.Tensor]) -> float:
    """Return the cost at θ = (w₁, w₂, b)."""
    return cost(*here(θ[None, :2], θ[2:]), *data).item()


if __name__ == "__main__":
    main(output_folder(__doc__))
