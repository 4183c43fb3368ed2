import xml.etree.ElementTree as ET

import pytest

from nnlib_benchmarks.svg import Bar, Line, bar_chart, line_chart, make_axis


def test_bars_are_as_long_as_their_values():
    drawing = ET.fromstring(bar_chart([Bar("a", "c0", 1.0, "1"), Bar("b", "c1", 4.0, "4")], "t"))

    short, long = (float(r.get("width")) for r in drawing.iter("rect"))
    assert long / short == pytest.approx(4, rel=0.01)


def test_logarithmic_bars_are_as_long_as_their_logarithms():
    bars = [Bar(str(v), "c0", v, "") for v in (10.0, 100.0, 1000.0)]
    widths = [
        float(r.get("width")) for r in ET.fromstring(bar_chart(bars, "t", log=True)).iter("rect")
    ]
    assert widths[2] - widths[1] == pytest.approx(widths[1] - widths[0], rel=0.01)


def test_lines_stay_inside_the_axes():
    x, y = [1.0, 10.0, 100.0], [1e-6, 1e-3, 1.0]
    axes = {
        "x_axis": make_axis(x, 40, 300, str),
        "y_axis": make_axis(y, 190, 30, str),
    }
    drawing = ET.fromstring(line_chart([Line("n", "c0", x, y)], "t", "x", "y", **axes))

    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in drawing.iter("circle")]
    assert [d[0] for d in dots] == sorted(d[0] for d in dots)
    assert [d[1] for d in dots] == sorted((d[1] for d in dots), reverse=True)
    assert all(40 <= a <= 300 and 30 <= b <= 190 for a, b in dots)


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("values", [[1.0], [3.0, 3.5], [1e-6, 2.0], [1.0, 1e9], []])
def test_an_axis_has_a_few_round_ticks(values, log):
    axis = make_axis(values, 0, 100, str, log=log)

    assert 1 <= len(axis.ticks) <= 7
    assert all(0 <= axis(tick) <= 100 for tick, _ in axis.ticks)
    positions = [axis(tick) for tick, _ in axis.ticks]
    assert positions == sorted(set(positions))
