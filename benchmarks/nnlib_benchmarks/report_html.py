"""The run as one HTML page: everything inline, no network, light and dark."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from nnlib_benchmarks import charts, tables
from nnlib_benchmarks.comparison import peer_names
from nnlib_benchmarks.findings import findings
from nnlib_benchmarks.records import Run
from nnlib_benchmarks.tables_comparison import comparison_tables
from nnlib_benchmarks.tables_operations import crossover_table, operations_table

METHOD = (
    "Every clock reading is taken with the device synchronised; a GPU's own events are reported "
    "beside the wall clock. Warm-up steps are reported (first step) and counted nowhere else.",
    "All contestants start from the same weights, use the same batches and run the same number of "
    "steps, taking turns (A B A B). The loss curves must agree within the stated tolerance "
    "before a speed-up is shown.",
    "In a run with other libraries each contestant, nnlib on NumPy included, runs in a separate "
    "process, idle while another has its turn.",
    "“Batch on the device” times the step alone; “end to end” adds gathering the batch from host "
    "memory, converting it and copying it to the device.",
    "Rates count nominal operations (two for each multiply-add of matrix products and "
    "convolutions, forward and backward), divided by the median step. The share of a contestant's "
    "own measured matmul peak shows whether a slow side was merely slow.",
    "Bars show the median, whiskers the quartiles, dots the raw samples (outliers beyond the axis "
    "are left out of the drawing, not of the numbers).",
)


def render_html(run: Run) -> str:
    """Write the page.

    Examples
    --------
    >>> from nnlib_benchmarks.schema import load_run
    >>> page = render_html(load_run("run.json"))  # doctest: +SKIP
    """
    style = files("nnlib_benchmarks").joinpath("page.css").read_text(encoding="utf8")
    title = _title(run)
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">nnlib {escape(run.machine.nnlib_version)} · {escape(run.created)} · '
        f"{'quick run · ' if run.settings.quick else ''}{charts.legend(run)}</p>",
        _findings(run),
        _comparison(run),
        *(_training(run, i) for i in range(len(run.training))),
        _claim(run),
        _operations(run),
        "<section><h2>Machine, software, method</h2>",
        _table(tables.contestants_table(run)),
        _table(tables.machine_table(run)),
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in METHOD) + "</ul></section>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _title(run: Run) -> str:
    backends = [c for c in run.contestants if c.kind != "peer"]
    devices = " against ".join(dict.fromkeys(c.device for c in backends))
    gpu = any(c.kind == "gpu" for c in backends)
    return f"Training on {devices}" + ("" if gpu else " (no usable GPU on this machine)")


def _findings(run: Run) -> str:
    items = "".join(f'<li class="{f.kind}">{escape(f.text)}</li>' for f in findings(run))
    return f'<ul class="findings">{items}</ul>' if items else ""


def _comparison(run: Run) -> str:
    found = comparison_tables(run)
    if not found:
        return ""
    title = "nnlib beside other libraries" if peer_names(run) else "Scaling"
    return f"<section><h2>{title}</h2>" + "".join(map(_table, found)) + "</section>"


def _training(run: Run, index: int) -> str:
    training = run.training[index]
    table = tables.training_table(training)
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="side"><div class="wide">'
        + charts.step_bars(run, training)
        + _table(table, heading=False)
        + '</div><div class="narrow">'
        + charts.loss_curves(run, training)
        + charts.accuracy_curves(run, training)
        + "</div></div></section>"
    )


def _claim(run: Run) -> str:
    if run.claim is None:
        return ""
    table = tables.claim_table(run, run.claim)
    return (
        f"<section><h2>{escape(table.title)}</h2>"
        + charts.claim_bars(run, run.claim)
        + _table(table, heading=False)
        + "</section>"
    )


def _operations(run: Run) -> str:
    if not run.operations:
        return ""
    crossover, extremes = crossover_table(run), operations_table(run, smallest=True)
    return (
        "<section><h2>Operation by operation</h2>"
        '<p class="sub">Solid: forward; dashed: forward and backward. Axes are logarithmic.</p>'
        + (_table(crossover) if crossover else "")
        + f'<div class="grid">{"".join(charts.operation_charts(run))}</div>'
        + (_table(extremes) if extremes else "")
        + "</section>"
    )


def _table(table: tables.Table, heading: bool = True) -> str:
    head = _row(table, table.columns, "th") if any(table.columns) else ""
    rows = "".join(_row(table, row, "td") for row in table.rows)
    notes = "".join(
        f'<p class="{"bad" if note.startswith("FAILED") else "sub"}">{escape(note)}</p>'
        for note in table.notes
    )
    caption = f"<h3>{escape(table.title)}</h3>" if heading else ""
    return (
        f'<div class="table">{caption}<table>'
        + (f"<thead>{head}</thead>" if head else "")
        + f"<tbody>{rows}</tbody></table>{notes}</div>"
    )


def _row(table: tables.Table, cells: list[str], tag: str) -> str:
    parts = [
        f'<{tag} class="{"words" if i < table.words else "number"}">{escape(cell)}</{tag}>'
        for i, cell in enumerate(cells)
    ]
    return f"<tr>{''.join(parts)}</tr>"
