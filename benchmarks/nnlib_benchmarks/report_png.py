"""The run as one picture, for a slide or a README."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from nnlib.errors import missing_extra
from nnlib_benchmarks import units
from nnlib_benchmarks.comparison import peer_names
from nnlib_benchmarks.records import Claim, Contestant, Operation, Run, Training
from nnlib_benchmarks.tables import NO_GPU, Table
from nnlib_benchmarks.tables_comparison import comparison_tables

COLORS = ("#0068a8", "#d55e00", "#00805e", "#a64d86", "#8a6d00", "#5b4bb7")
CLAIM_COLOR = "#8b95a3"
SHOWN_OPERATIONS = ("matmul", "conv2d", "relu", "gelu", "mlp width", "mlp batch", "mlp depth")
COLUMNS = 3
MOST_TICKS = 8
NOTE_WIDTH = 230  #: characters of a note below a table


def render_png(run: Run) -> bytes:
    """Draw the picture; return the bytes of a PNG file.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("the PNG plot needs matplotlib", "plot") from error
    shown, panels = comparison_tables(run), _panels(run)
    heights = [0.24 * (len(table.rows) + 1) + 0.22 * len(table.notes) + 0.4 for table in shown]
    heights += [3.1] * -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(4.6 * COLUMNS, sum(heights) + 1.0), layout="constrained")
    figure.suptitle(_title(run), fontsize=11, x=0.01, ha="left")
    grid = figure.add_gridspec(max(1, len(heights)), COLUMNS, height_ratios=heights or [1])
    for row, table in enumerate(shown):
        _draw_table(figure.add_subplot(grid[row, :]), table)
    for i, (draw, subject) in enumerate(panels):
        draw(figure.add_subplot(grid[len(shown) + i // COLUMNS, i % COLUMNS]), run, subject)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _panels(run: Run) -> list[tuple[Any, Any]]:
    panels: list[tuple[Any, Any]] = []
    if not peer_names(run):  # with peers the tables show it
        panels = [(_draw_training, training) for training in run.training]
    if run.claim is not None:
        panels.append((_draw_claim, run.claim))
    for name in SHOWN_OPERATIONS:
        points = [p for p in run.operations if p.operation == name]
        if points:
            panels.append((_draw_operation, points))
    return panels


def _draw_table(axis: Any, table: Table) -> None:
    axis.set_axis_off()
    axis.set_title(table.title, fontsize=10, loc="left")
    below = 0.22 * len(table.notes) / (0.24 * (len(table.rows) + 1) + 0.22 * len(table.notes))
    drawn = axis.table(
        table.rows, colLabels=table.columns, cellLoc="right", edges="horizontal",
        bbox=(0, below, 1, 1 - below),
    )  # fmt: skip
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    for (_, column), cell in drawn.get_celld().items():
        cell.set_edgecolor("#dfe4ea")
        if column < table.words:
            cell.set_text_props(ha="left")
    notes = "\n".join(textwrap.shorten(note, NOTE_WIDTH, placeholder=" …") for note in table.notes)
    axis.text(0, below - 0.01, notes, fontsize=7, color="#5b6675", va="top",
              transform=axis.transAxes)  # fmt: skip


def _title(run: Run) -> str:
    lines = [
        f"{c.name}: {c.device}, {_cores(c)}{c.precision}, "
        + ", ".join(f"{k} {v}" for k, v in c.libraries.items())
        for c in run.contestants
    ]
    if not any(c.kind == "gpu" for c in run.contestants):
        lines.append(NO_GPU)
    head = f"nnlib bench, {run.created[:10]}" + (" (quick)" if run.settings.quick else "")
    return "\n".join([head, *lines])


def _cores(who: Contestant) -> str:
    return "" if who.kind == "gpu" else f"{who.cores} cores, "


def _color(run: Run, name: str) -> str:
    return COLORS[[c.name for c in run.contestants].index(name) % len(COLORS)]


def _draw_training(axis: Any, run: Run, training: Training) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    labels: list[str] = []
    for phase, text in (("compute", "on device"), ("end_to_end", "end to end")):
        for result in training.results:
            timing = getattr(result, phase)
            y = len(labels)
            axis.barh(y, timing.median, color=_color(run, result.contestant))
            spread = [[timing.median - timing.q1], [timing.q3 - timing.median]]
            axis.errorbar(timing.median, y, xerr=spread, color="black", capsize=3, linewidth=1)
            axis.annotate(
                units.seconds(timing.median), (timing.q3, y), (5, 0),
                textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
            labels.append(f"{result.contestant}, {text}")
    failed = any(not a.agree for a in training.agreements)
    title = f"{training.workload}: training step, batch {training.batch}"
    axis.set_title(title + ("\nLOSSES DISAGREE" if failed else ""), fontsize=9, loc="left",
                   color="#b3261e" if failed else "black")  # fmt: skip
    _bars(axis, labels, "time of a step")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(EngFormatter("s"))


def _bars(axis: Any, labels: Sequence[str], unit: str) -> None:
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(unit, fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * (4 if axis.get_xscale() == "log" else 1.22))  # room for the texts
    axis.spines[["top", "right"]].set_visible(False)


def _draw_claim(axis: Any, run: Run, claim: Claim) -> None:
    bars = [
        (f"claimed: {claim.claimed_cpu}", claim.claimed_cpu_days * 24, CLAIM_COLOR),
        (f"claimed: {claim.claimed_gpu} ({claim.claimed_gpus} GPUs)", claim.claimed_gpu_hours,
         CLAIM_COLOR),
        *((f"here: {p.contestant}", p.hours, _color(run, p.contestant)) for p in claim.projections),
    ]  # fmt: skip
    axis.set_xscale("log")
    for y, (_, hours, color) in enumerate(bars):
        axis.barh(y, hours, left=0.1, color=color)
        axis.annotate(
            units.span(hours), (hours, y), (5, 0), textcoords="offset points", va="center",
            fontsize=8,
        )  # fmt: skip
    title = f"VGG-16, {claim.images / 1e6:.2f} M images × {claim.epochs} epochs"
    missing = not any(p.kind == "gpu" for p in claim.projections)
    axis.set_title(title + ("\n(no GPU here: not measured)" if missing else ""), fontsize=9,
                   loc="left")  # fmt: skip
    _bars(axis, [label for label, _, _ in bars], "hours, logarithmic")


def _draw_operation(axis: Any, run: Run, points: Sequence[Operation]) -> None:
    for direction in dict.fromkeys(p.direction for p in points):
        for c in run.contestants:
            chosen = [p for p in points if p.direction == direction and c.name in p.times]
            if chosen:
                chosen.sort(key=lambda p: p.size)
                axis.loglog(
                    [p.size for p in chosen],
                    [p.times[c.name].median for p in chosen],
                    "o--" if direction == "forward+backward" else "o-",
                    color=_color(run, c.name), markersize=3, linewidth=1.2,
                    label=f"{c.name}, {direction}",
                )  # fmt: skip
    sizes = sorted({p.size for p in points})
    marked = sizes[:: -(-len(sizes) // MOST_TICKS)]
    axis.set_xticks(marked, [units.count(size) for size in marked])
    axis.minorticks_off()
    axis.set_title(points[0].operation, fontsize=9, loc="left")
    axis.set_xlabel(points[0].unit, fontsize=8)
    axis.set_ylabel("seconds", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7, frameon=False)
