"""The charts of the page, each made from a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from html import escape

from nnlib_benchmarks import units
from nnlib_benchmarks.records import Claim, Operation, Run, Training
from nnlib_benchmarks.svg import Bar, Line, bar_chart, line_chart, make_axis
from nnlib_benchmarks.tables import NO_GPU, contestant

COLORS = 6  #: classes c0 … c5 in page.css
MOST_POINTS = 300  #: of a loss curve; more would not be visible

LEFT, RIGHT, TOP, BOTTOM = 46, 332, 36, 190  #: of the plotting area of a line chart


def color(run: Run, name: str) -> str:
    """CSS class of a contestant: the same in every chart."""
    names = [c.name for c in run.contestants]
    return f"c{names.index(name) % COLORS}"


def legend(run: Run) -> str:
    """Colour, device and precision of each contestant."""
    return "".join(
        f'<span class="key"><i class="{color(run, c.name)}"></i>{escape(c.name)}: '
        f"{escape(c.device)}, {escape(c.precision)}</span>"
        for c in run.contestants
    )


def step_bars(run: Run, training: Training) -> str:
    """Step times: batch on the device, and end to end."""
    bars = []
    for phase, label in (("compute", "batch on device"), ("end_to_end", "end to end")):
        for result in training.results:
            timing = getattr(result, phase)
            bars.append(
                Bar(
                    label=f"{result.contestant}, {label}",
                    css=color(run, result.contestant),
                    value=timing.median,
                    text=units.seconds(timing.median),
                    low=timing.q1,
                    high=timing.q3,
                    samples=timing.samples,
                )
            )
    values = [bar.value for bar in bars]
    log = max(values) > 30 * min(values)
    title = f"{training.workload}: time of a training step" + (" (logarithmic)" if log else "")
    return f'<p class="sub">{escape(title)}</p>' + bar_chart(bars, title, log=log)


def loss_curves(run: Run, training: Training) -> str:
    """Losses of all contestants in one chart: they must look like one line."""
    lines: list[Line] = []
    for result in training.results:
        every = -(-len(result.losses) // MOST_POINTS)
        steps = [float(i + 1) for i in range(0, len(result.losses), every)]
        css = color(run, result.contestant)
        losses = result.losses[::every]
        lines.append(Line(result.contestant, css, steps, losses, bool(lines), len(steps) < 30))
    if len(lines) == 1:
        title = "Loss"
    else:
        agree = all(a.agree for a in training.agreements)
        title = "Loss: the same for all" if agree else "Loss: NOT the same for all"
    return _curves(lines, title, "step", "training loss", lambda v: f"{v:g}")


def accuracy_curves(run: Run, training: Training) -> str:
    """Test accuracy over epochs, where it was measured."""
    lines: list[Line] = []
    for result in training.results:
        if result.target is not None:
            epochs = [float(i + 1) for i in range(len(result.target.curve))]
            css = color(run, result.contestant)
            lines.append(Line(result.contestant, css, epochs, result.target.curve, bool(lines)))
    if not lines:
        return ""
    return _curves(lines, "On the way to the target", "epoch", "test accuracy", units.percent)


def _curves(lines: list[Line], title: str, x: str, y: str, write: Callable[[float], str]) -> str:
    xs = list(itertools.chain(*(line.x for line in lines)))
    ys = list(itertools.chain(*(line.y for line in lines)))
    return line_chart(
        lines,
        title,
        x,
        y,
        x_axis=make_axis(xs, LEFT, RIGHT, lambda v: f"{v:g}", log=False),
        y_axis=make_axis(ys, BOTTOM, TOP, write, log=False),
        size=(340, 220),
    )


def claim_bars(run: Run, claim: Claim) -> str:
    """Hours of the whole training, claimed and projected, on a logarithmic scale."""
    bars = [
        _claim_bar("claimed: " + claim.claimed_cpu, "claim", claim.claimed_cpu_days * 24),
        _claim_bar("claimed: DGX-1 (8 GPUs)", "claim", claim.claimed_gpu_hours),
    ]
    bars += [
        _claim_bar(f"here: {p.contestant}", color(run, p.contestant), p.hours)
        for p in claim.projections
    ]
    title = f"{claim.images / 1e6:.2f} M images × {claim.epochs} epochs (logarithmic)"
    measured = any(p.kind == "gpu" for p in claim.projections)
    missing = "" if measured else f'<p class="sub">{NO_GPU}.</p>'
    return bar_chart(bars, title, log=True) + missing


def _claim_bar(label: str, css: str, hours: float) -> Bar:
    return Bar(label, css, hours, units.span(hours))


def operation_charts(run: Run) -> Iterator[str]:
    """One small chart for each operation: time against size."""
    groups: dict[tuple[str, str], list[Operation]] = {}
    for point in run.operations:
        groups.setdefault((point.operation, point.unit), []).append(point)
    for (operation, unit), points in groups.items():
        yield _operation_chart(run, operation, unit, points)


def _operation_chart(run: Run, operation: str, unit: str, points: list[Operation]) -> str:
    lines = []
    directions = list(dict.fromkeys(p.direction for p in points))
    for direction, c in itertools.product(directions, run.contestants):
        chosen = sorted(
            (p for p in points if p.direction == direction and c.name in p.times),
            key=lambda p: p.size,
        )
        if chosen:
            x = [float(p.size) for p in chosen]
            y = [p.times[c.name].median for p in chosen]
            dashed = direction == "forward+backward"
            lines.append(Line(f"{c.name}, {direction}", color(run, c.name), x, y, dashed))
    xs = list(itertools.chain(*(line.x for line in lines)))
    ys = list(itertools.chain(*(line.y for line in lines)))
    return line_chart(
        lines,
        operation,
        unit,
        "seconds",
        x_axis=make_axis(xs, LEFT, RIGHT, units.count),
        y_axis=make_axis(ys, BOTTOM, TOP, units.seconds),
        mark=_mark(run, operation, unit),
        size=(340, 220),
    )


def _mark(run: Run, operation: str, unit: str) -> tuple[float, str] | None:
    """Where the first GPU overtakes the reference in the forward direction."""
    for c in run.crossovers:
        first = c.direction in ("forward", "training step")
        gpu = contestant(run, c.contestant).kind == "gpu"
        if (c.operation, c.unit) == (operation, unit) and first and gpu and c.verdict == "from":
            return float(c.estimate or c.size or 0), "GPU wins →"
    return None
