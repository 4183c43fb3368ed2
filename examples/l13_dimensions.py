"""L13: networks of 1, 2, 3 and 6 layers, and the dimensions of every matrix in them.

The course's exercise: give the dimensions of X, W[l], b[l], Z[l] and A[l] for m = 10 instances.

    W[l]: n[l] × n[l−1]      b[l]: n[l] × 1      Z[l], A[l]: n[l] × m      X = A[0]: n[0] × m

A layer is counted when it has parameters, so the input is none; with more than two hidden layers,
that is from four layers on, a network is called deep.  `nnlib.summary(model, batch=10)` answers the
exercise for any model.  (It shows instances as rows, m × n[l]; here they are transposed to the
course's columns.  The shape of W[l] is the same in both.)
"""

from pathlib import Path

from course import output_folder, table

import nnlib
from nnlib.models import MLP

NETWORKS = ((5, 1), (5, 4, 1), (5, 4, 3, 1), (5, 6, 6, 6, 6, 6, 1))


def dimensions(sizes: tuple[int, ...], m: int) -> list[tuple[str, ...]]:
    """Return (l, W[l], b[l], Z[l] and A[l], parameters), as the summary of the network has them."""
    summary = nnlib.summary(MLP(sizes, "sigmoid"), batch=m)
    layers = [row for row in summary.rows if row.layer == "Linear"]
    rows = [("0: X", "", "", times(*reversed(summary.input_shape)), "0")]
    for number, row in enumerate(layers, start=1):
        W, (b,) = row.weight_shapes["weight"], row.weight_shapes["bias"]
        Z = times(*reversed(row.output_shape))
        rows.append((str(number), times(*W), times(b, 1), Z, str(row.parameters)))
    return [*rows, ("all", "", "", "", str(summary.parameters))]


def times(*sizes: int) -> str:
    return " × ".join(map(str, sizes))


def main(out: Path, m: int = 10) -> dict[tuple[int, ...], list[tuple[str, ...]]]:
    answers = {sizes: dimensions(sizes, m) for sizes in NETWORKS}
    for sizes, rows in answers.items():
        kind = "deep" if len(sizes) - 2 > 2 else "not deep"
        name, hidden = "-".join(map(str, sizes)), len(sizes) - 2
        print(f"{name}: {hidden + 1} with parameters, {hidden} of them hidden, {kind}")
        table(("layer l", "W[l]", "b[l]", "Z[l], A[l]", "parameters"), rows)
    print(f"What nnlib.summary(model, batch={m}) says of the last but one:\n")
    print(nnlib.summary(MLP(NETWORKS[-2], "sigmoid"), batch=m))
    return answers


if __name__ == "__main__":
    main(output_folder(__doc__))
