"""Geometry of a convolution along one axis: positions, taps and pixels."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

from nnlib_backends.numpy_backend.launch import Array

__all__ = ["Axis", "axes_forward", "phases"]

Pair = tuple[int, int]


class Axis(NamedTuple):
    """One axis of a convolution.

    Position i is pixel ``first + i * every`` of the result, and its tap t reads pixel
    ``base + i * step + t * reach`` of the image.  It is the filter's tap ``tap + t * tap_step``.
    """

    positions: int
    first: int
    every: int
    step: int
    base: int
    taps: int
    reach: int
    tap: int
    tap_step: int

    def span(self, positions: int) -> int:
        """Return how many pixels of the image a number of positions cover."""
        return (positions - 1) * self.step + (self.taps - 1) * self.reach + 1

    def inside(self, size: int) -> bool:
        """Return whether no position reads padding."""
        return not self.taps or (self.base >= 0 and self.base + self.span(self.positions) <= size)


def axes_forward(
    x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[Axis, Axis]:
    """Return the axes of a forward convolution."""
    rows, columns = (
        Axis((size + 2 * p - d * (k - 1) - 1) // s + 1, 0, 1, s, -p, k, d, 0, 1)
        for size, k, s, p, d in zip(
            x.shape[1:3], weight.shape[1:3], stride, padding, dilation, strict=True
        )
    )
    return rows, columns


def phases(size: int, taps: int, stride: int, padding: int, dilation: int) -> Iterator[Axis]:
    """Yield the axes (phases) of the gradient by the image, which together cover all its pixels.

    Tap r contributes to pixel i from position (i + padding - r dilation) / stride.
    """
    tap_step = stride // gcd(stride, dilation)
    for first in range(min(stride, size)):
        able = [r for r in range(taps) if (first + padding - r * dilation) % stride == 0]
        last = able[-1] if able else 0  # the last tap reads the first position
        yield Axis(
            positions=-(-(size - first) // stride), first=first, every=stride, step=1,
            base=(first + padding - last * dilation) // stride, taps=len(able),
            reach=tap_step * dilation // stride, tap=last, tap_step=-tap_step,
        )  # fmt: skip
