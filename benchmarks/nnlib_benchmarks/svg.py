"""Two kinds of chart as inline SVG, coloured by the page's CSS so that light and dark both work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

MOST_DOTS = 200  #: of the raw samples of one bar; more would not be visible
ROOM = 1.15  #: length of a bar chart's axis over its longest bar; outliers may lie further


@dataclass(frozen=True)
class Bar:
    """One horizontal bar: a value, its spread, its raw samples and the text at its end."""

    label: str
    css: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    samples: Sequence[float] = ()


@dataclass(frozen=True)
class Line:
    """One line of a line chart."""

    name: str
    css: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    dots: bool = True


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels, linearly or by logarithm."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False
    ticks: list[tuple[float, str]] = field(default_factory=list)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, kept inside the axis."""
        a, b, v = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            a, b, v = math.log(a), math.log(b), math.log(v)
        share = (v - a) / (b - a) if b > a else 0.5
        return self.begin + share * (self.end - self.begin)


def bar_chart(bars: Sequence[Bar], title: str, *, log: bool = False, width: int = 680) -> str:
    """Draw horizontal bars with whiskers (quartiles) and dots (raw samples).

    Parameters
    ----------
    bars : sequence of Bar
        From top to bottom.
    title : str
        For screen readers.
    log : bool
        Logarithmic lengths, for values of very different size; bars then begin at a decade.
    width : int
        Pixels of the drawing's own coordinates; the page scales it.
    """
    left, right, row = 190, 150, 30
    top = ROOM * max((max(b.value, b.high or 0) for b in bars), default=1.0)
    low = 10 ** math.floor(math.log10(min(b.value for b in bars)) - 0.3) if log else 0.0
    axis = Axis(low, top, left, width - right, log)
    parts = []
    for i, bar in enumerate(bars):
        y = 6 + i * row
        parts.append(_bar(bar, axis, y, left))
    height = 12 + row * len(bars)
    return _drawing(width, height, title, parts)


def _bar(bar: Bar, axis: Axis, y: int, left: int) -> str:
    end = axis(bar.value)
    every = -(-len(bar.samples) // MOST_DOTS) or 1
    shown = [s for s in bar.samples[::every] if s <= axis.high]
    parts = [
        f'<text class="label" x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(bar.label)}'
        "</text>",
        f'<rect class="fill {bar.css}" x="{left}" y="{y + 2}" width="{max(end - left, 1):.1f}" '
        f'height="18" rx="2"><title>{escape(bar.label)}: {escape(bar.text)}</title></rect>',
    ]
    parts += [
        f'<circle class="sample" cx="{axis(s):.1f}" cy="{y + 11 + (i % 5 - 2) * 3}" r="1.4"/>'
        for i, s in enumerate(shown)
    ]
    reach = max([end, *map(axis, shown)])
    if bar.low is not None and bar.high is not None:
        a, b = axis(bar.low), axis(bar.high)
        parts.append(
            f'<path class="whisker" d="M{a:.1f} {y + 11}H{b:.1f}M{a:.1f} {y + 7}v8'
            f'M{b:.1f} {y + 7}v8"/>'
        )
        reach = max(reach, b)
    parts.append(f'<text x="{reach + 8:.1f}" y="{y + 15}">{escape(bar.text)}</text>')
    return "".join(parts)


def line_chart(
    lines: Sequence[Line],
    title: str,
    x_label: str,
    y_label: str,
    *,
    x_axis: Axis,
    y_axis: Axis,
    mark: tuple[float, str] | None = None,
    size: tuple[int, int] = (340, 230),
) -> str:
    """Draw lines over two axes made by `make_axis`.

    Parameters
    ----------
    lines : sequence of Line
        What to draw.
    title, x_label, y_label : str
        Texts.
    x_axis, y_axis : Axis
        Their pixel ranges must lie within `size`.
    mark : (float, str), optional
        A vertical dashed line at that x, with a text.
    size : (int, int)
        Width and height.
    """
    width, height = size
    parts = [
        f'<text class="title" x="{x_axis.begin}" y="14">{escape(title)}</text>',
        f'<text class="axis" x="{x_axis.end}" y="{height - 4}" text-anchor="end">'
        f"{escape(x_label)}</text>",
        f'<text class="axis" x="{x_axis.begin}" y="28">{escape(y_label)}</text>',
    ]
    for value, text in x_axis.ticks:
        x = x_axis(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {y_axis.begin}V{y_axis.end}"/>')
        parts.append(
            f'<text class="axis" x="{x:.1f}" y="{y_axis.begin + 13}" text-anchor="middle">{text}'
            "</text>"
        )
    for value, text in y_axis.ticks:
        y = y_axis(value)
        parts.append(f'<path class="grid" d="M{x_axis.begin} {y:.1f}H{x_axis.end}"/>')
        parts.append(
            f'<text class="axis" x="{x_axis.begin - 5}" y="{y + 3.5:.1f}" text-anchor="end">{text}'
            "</text>"
        )
    if mark is not None:
        x = x_axis(mark[0])
        anchor = "end" if x > (x_axis.begin + x_axis.end) / 2 else "start"
        shift = -4 if anchor == "end" else 4
        parts.append(f'<path class="mark" d="M{x:.1f} {y_axis.begin}V{y_axis.end}"/>')
        parts.append(
            f'<text class="axis" x="{x + shift:.1f}" y="{y_axis.end + 10:.1f}" '
            f'text-anchor="{anchor}">{escape(mark[1])}</text>'
        )
    parts += [_line(line, x_axis, y_axis) for line in lines]
    return _drawing(width, height, title, parts)


def _line(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    points = [
        (x_axis(x), y_axis(y)) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)
    ]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashed = " dashed" if line.dashed else ""
    dots = "".join(
        f'<circle class="fill {line.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>'
        for x, y in (points if line.dots else [])
    )
    return (
        f'<path class="line {line.css}{dashed}" d="{path}"><title>{escape(line.name)}</title>'
        f"</path>{dots}"
    )


def make_axis(
    values: Sequence[float],
    begin: float,
    end: float,
    write: Callable[[float], str],
    *,
    log: bool = True,
) -> Axis:
    """Make an axis that holds all values, with a few ticks at round numbers.

    Parameters
    ----------
    values : sequence of float
        Values within the axis.
    begin, end : float
        Pixels.
    write : callable
        Value → text of a tick.
    log : bool
        Logarithmic (all values must be positive) or linear from 0.
    """
    finite = [v for v in values if math.isfinite(v)]
    if not log:
        high = max(finite, default=1.0) or 1.0
        marks = _round_steps(high)
        return Axis(0.0, high * 1.03, begin, end, False, [(m, write(m)) for m in marks])
    low, high = min(finite, default=1.0), max(finite, default=1.0)
    if high <= low:
        low, high = low / 2, high * 2
    marks = _decades(low, high)
    return Axis(low * 0.8, high * 1.25, begin, end, True, [(m, write(m)) for m in marks])


def _round_steps(high: float) -> list[float]:
    """Three to six multiples of 1, 2 or 5 times a power of ten, from 0 to at most `high`."""
    decade = 10.0 ** math.floor(math.log10(high) - 1)
    step = next(s * decade for s in (1, 2, 5, 10, 20, 50) if high / (s * decade) < 6)
    return [float(f"{k * step:.6g}") for k in range(int(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten in the range, thinned to at most five; other round numbers if there are few."""
    first, last = math.ceil(math.log10(low) - 0.1), math.floor(math.log10(high) + 0.1)
    marks = [10.0**k for k in range(first, last + 1)]
    if len(marks) < 2:
        decades = range(first - 1, last + 2)
        marks = [float(f"{s / 2}e{k}") for k in decades for s in range(2, 20)]
        marks = [m for m in marks if low * 0.8 <= m <= high * 1.25]
    every = -(-len(marks) // 5)
    return marks[::every] if every > 1 else marks


def _drawing(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{width}px">{"".join(parts)}</svg>'
    )
