import pytest

from nnlib_benchmarks import units


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-9, "3.00 ns"), (0.9994, "999 ms"), (1.0, "1.00 s"), (None, "–"), (float("nan"), "–")],
)
def test_seconds(value, text):
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("hours", "text"), [(0.5, "30.0 min"), (47.9, "47.9 h"), (48, "2.00 days"), (1320, "55.0 days")]
)
def test_span(hours, text):
    assert units.span(hours) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.5, "50 %"), (1.04, "104 %"), (0.012, "1.2 %"), (None, "–")]
)
def test_percent(share, text):
    assert units.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(800, "800"), (16384, "16.4 k"), (8388608, "8.39 M"), (141.42, "141.4")]
)
def test_count(value, text):
    assert units.count(value) == text


def test_bytes():
    assert [units.bytes_(b) for b in (10, 2048, 3 * 2**20, None)] == [
        "10 B", "2.00 KiB", "3.00 MiB", "–",
    ]  # fmt: skip
