"""Numbers for people: three digits and the unit that fits."""

from __future__ import annotations

import math


def seconds(value: float | None) -> str:
    """Write a duration of a step or a run.

    Examples
    --------
    >>> seconds(0.00123), seconds(4.2e-6), seconds(75)
    ('1.23 ms', '4.20 µs', '75.0 s')
    """
    if value is None or not math.isfinite(value):
        return "–"
    for limit, unit, name in ((1e-6, 1e-9, "ns"), (1e-3, 1e-6, "µs"), (1, 1e-3, "ms")):
        if value < limit:
            return f"{digits(value / unit)} {name}"
    return f"{digits(value)} s"


def span(hours: float) -> str:
    """Write hours or days of training, whichever reads better.

    Examples
    --------
    >>> span(23), span(1320), span(0.4)
    ('23.0 h', '55.0 days', '24.0 min')
    """
    if hours < 1:
        return f"{digits(hours * 60)} min"
    if hours < 48:
        return f"{digits(hours)} h"
    return f"{digits(hours / 24)} days"


def bytes_(value: float | None) -> str:
    """Write an amount of memory (powers of 1024).

    Examples
    --------
    >>> bytes_(4096), bytes_(3 * 2**30)
    ('4.00 KiB', '3.00 GiB')
    """
    if value is None:
        return "–"
    for power, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= power:
            return f"{digits(value / power)} {name}"
    return f"{value:.0f} B"


def rate(flops: float | None) -> str:
    """Write a rate of floating-point operations.

    Examples
    --------
    >>> rate(1.9e11), rate(5.1e13)
    ('190 GFLOP/s', '51.0 TFLOP/s')
    """
    if flops is None or not math.isfinite(flops):
        return "–"
    if flops >= 1e12:
        return f"{digits(flops / 1e12)} TFLOP/s"
    return f"{digits(flops / 1e9)} GFLOP/s"


def percent(share: float | None) -> str:
    """Write a share.

    Examples
    --------
    >>> percent(0.4321)
    '43 %'
    """
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:.1f} %" if share < 0.095 else f"{100 * share:.0f} %"


def times(ratio: float | None) -> str:
    """Write a speed-up.

    Examples
    --------
    >>> times(57.39), times(0.5)
    ('57.4×', '0.500×')
    """
    return "–" if ratio is None or not math.isfinite(ratio) else f"{digits(ratio)}×"


def count(value: float) -> str:
    """Write a size.

    Examples
    --------
    >>> count(1048576), count(800)
    ('1.05 M', '800')
    """
    for power, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= power:
            scaled = value / (1e3 if name == "k" else power)
            return f"{digits(scaled)} {name}"
    return f"{value:.4g}"


def digits(value: float) -> str:
    """Write three significant digits without an exponent.

    Examples
    --------
    >>> digits(1234.5), digits(12.345), digits(0.0012345)
    ('1234', '12.3', '0.00123')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"
