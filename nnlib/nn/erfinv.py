"""The inverse error function, which maps uniform numbers to normal ones.

Array libraries lack it; this is M. Giles, "Approximating the erfinv function" (2010), table 5.
"""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array

__all__ = ["erfinv"]

# Coefficients, highest power first.
_CENTRE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


def erfinv(xp: Any, x: Array) -> Array:
    """Inverse error function of float32 values; large but finite at ±1."""
    w = -xp.log(xp.maximum((1 - x) * (1 + x), 1e-16))
    centre = _polynomial(_CENTRE, w - 2.5)
    tail = _polynomial(_TAIL, xp.sqrt(w) - 3.0)
    return x * xp.where(w < 5, centre, tail)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    y = coefficients[0]
    for c in coefficients[1:]:
        y = y * x + c
    return y
