"""The run as tables on the terminal."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from nnlib_benchmarks import tables, tables_operations
from nnlib_benchmarks.findings import findings
from nnlib_benchmarks.records import Run
from nnlib_benchmarks.tables_comparison import comparison_tables

MARKS = {"good": "✔", "bad": "✘", "note": "•"}


def render_text(run: Run, width: int | None = None) -> str:
    """Write the whole report as text.

    Parameters
    ----------
    run : Run
        The run to report.
    width : int, optional
        Columns; those of the terminal (at least 100) if not given.
    """
    columns = width or default_width()
    found = [
        textwrap.fill(f"{MARKS[f.kind]} {f.text}", columns, subsequent_indent="  ") + "\n"
        for f in findings(run)
    ]
    return render_tables(report_tables(run), columns) + "".join(found)


def default_width() -> int:
    """Columns of the terminal, but at least 100; 120 where there is none."""
    return max(100, shutil.get_terminal_size((120, 40)).columns)


def render_tables(shown: Sequence[tables.Table], width: int | None = None) -> str:
    """Write tables below one another, without trailing blanks."""
    from rich.console import Console

    columns = width or default_width()
    file = io.StringIO()
    console = Console(file=file, width=columns, force_terminal=False, color_system=None)
    for table in shown:
        _print_table(console, table)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join([*lines, ""])


def report_tables(run: Run) -> list[tables.Table]:
    """All tables in the order in which they are shown."""
    found: list[tables.Table | None] = [tables.contestants_table(run)]
    found += [tables.training_table(training) for training in run.training]
    found += [tables_operations.operations_table(run), tables_operations.crossover_table(run)]
    if run.claim is not None:
        found.append(tables.claim_table(run, run.claim))
    found += comparison_tables(run)
    return [table for table in found if table is not None]


def _print_table(console: Any, table: tables.Table) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(table.columns))
    for i, column in enumerate(table.columns):
        shown.add_column(
            Text(column.strip()), justify="left" if i < table.words else "right", overflow="fold"
        )
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(Text(table.title, style="bold"))
    console.print(shown)
    for note in table.notes:
        console.print(Text(note, style="dim"))
    console.print()
