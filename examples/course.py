"""Helpers of the examples: the command line, arrays, tables and pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nnlib
from nnlib.errors import install_command

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "lines.linewidth": 2,
}


def output_folder(story: str) -> Path:
    """Read ``--out DIR`` from the command line; ``--help`` prints the example's docstring."""
    return arguments(story)[0]


def arguments(story: str, full: str = "") -> tuple[Path, bool]:
    """Read ``--out DIR`` and, for an example with a long training, ``--full``.

    ``full`` is the help text.  The output of such a run begins with its command and the machine.
    """
    parser = argparse.ArgumentParser(
        description=story, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("nnlib-course"), metavar="DIR")
    if full:
        parser.add_argument("--full", action="store_true", help=full)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if full and given.full:
        info = nnlib.backend_info()
        print(f"$ python examples/{Path(sys.argv[0]).name} --full")
        print(f"nnlib {nnlib.__version__}, {datetime.now(UTC):%Y-%m-%d}: ", end="")
        print(f"{info['backend']} on {info['name']}, {info['cores']} cores", end="\n\n")
    print(story.strip(), end="\n\n")
    return given.out, bool(full and given.full)


def here(*arrays: Any) -> list[nnlib.Tensor]:
    """Return NumPy arrays as tensors on the current backend, NumPy or a GPU."""
    return [nnlib.tensor(array, backend=nnlib.get_backend()) for array in arrays]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head, the first column aligned left, the others right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for i, line in enumerate(lines):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells[1:]]))
        if i == 0:
            print("  ".join("─" * width for width in widths))
    print()


def picture(path: Path, size: tuple[float, float], draw: Callable[[Any], None]) -> None:
    """Make a figure of that size in inches, call ``draw(figure)``, and save it."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        print(f"No picture: matplotlib is not installed. To fix it: {install_command('plot')}")
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(path, dpi=150)
    print(f"picture: {path}")
