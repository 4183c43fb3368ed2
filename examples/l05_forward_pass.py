"""L5: the forward pass, one instance at a time and all at once.

For one instance x, a column, a[0] = x and then, layer by layer,

    z[l] = W[l] a[l−1] + b[l]        a[l] = g(z[l])

For m instances as the rows of X, A[0] = X, it is one matrix product a layer, and b[l] is broadcast:

    Z[l] = A[l−1] W[l]ᵀ + b[l]       A[l] = g(Z[l])

(the course has instances as columns, so its products are the transposes of these).  The results are
the same.  The time is not: one product of matrices is much faster than a loop over rows.
"""

from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from course import output_folder, picture, table

import nnlib

SIZES = (64, 32, 10)


def one_by_one(X: Any, parameters: Any) -> list[nnlib.Tensor]:
    """Return a[L] of every instance."""
    results = []
    for x in X:  # (n[0],)
        a = x
        for W, b in parameters:
            a = nnlib.sigmoid(W @ a + b)  # (n[l],)
        results.append(a)
    return results


def all_at_once(X: Any, parameters: Any) -> nnlib.Tensor:
    """Return A[L], (m, n[L])."""
    A = X
    for W, b in parameters:
        A = nnlib.sigmoid(A @ W.T + b)  # (m, n[l])
    return A


def seconds(function: Any, *arguments: Any, repeats: int) -> float:
    """Return the median time of a call, after one that does not count."""
    times = []
    for _ in range(1 + repeats):
        nnlib.get_backend().synchronize()
        begin = perf_counter()
        function(*arguments)
        nnlib.get_backend().synchronize()  # a GPU computes asynchronously
        times.append(perf_counter() - begin)
    return median(times[1:])


@nnlib.no_grad()
def main(out: Path, instances: tuple[int, ...] = (1, 10, 100, 1000, 10_000)) -> list[Any]:
    nnlib.manual_seed(0)
    parameters = [(nnlib.randn(n, before), nnlib.randn(n)) for before, n in pairwise(SIZES)]
    results = []
    for m in instances:
        X = nnlib.randn(m, SIZES[0])
        rows = [a.numpy() for a in one_by_one(X, parameters)]
        error = float(np.abs(np.stack(rows) - all_at_once(X, parameters).numpy()).max())
        loop = seconds(one_by_one, X, parameters, repeats=5)
        matrix = seconds(all_at_once, X, parameters, repeats=25)
        results.append((m, loop, matrix, error))

    info = nnlib.backend_info()
    print(f"{'-'.join(map(str, SIZES))} network, float32, on {info['name']} ({info['kind']})\n")
    table(
        ("instances m", "loop, ms", "matrix, ms", "loop / matrix", "largest difference"),
        [
            (m, f"{a * 1e3:.3f}", f"{b * 1e3:.3f}", f"{a / b:.1f}", f"{e:.0e}")
            for m, a, b, e in results
        ],
    )
    picture(
        out / "l05_forward_pass.png", (6.5, 4.2), lambda figure: draw(figure, results, info["name"])
    )
    return results


def draw(figure: Any, results: list[Any], machine: str) -> None:
    axes = figure.subplots()
    m = [row[0] for row in results]
    for column, label in ((1, "one instance at a time"), (2, "all as one matrix")):
        axes.loglog(m, [1e6 * row[column] / row[0] for row in results], marker="o", label=label)
    axes.set(xlabel="instances m", ylabel="time for each instance, µs")
    axes.set_title(f"Forward pass of a {'-'.join(map(str, SIZES))} network\n{machine}")
    axes.grid(alpha=0.3)
    axes.legend()


if __name__ == "__main__":
    main(output_folder(__doc__))
