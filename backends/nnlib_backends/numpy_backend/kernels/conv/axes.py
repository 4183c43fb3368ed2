"""How the positions of a convolution and the pixels of its image lie, along one axis."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

from nnlib_backends.numpy_backend.launch import Array

__all__ = ["Axis", "axes_forward", "phases"]

Pair = tuple[int, int]


class Axis(NamedTuple):
    """One axis of a convolution: position i sees the image at ``base + i * step + tap * reach``.

    And it is pixel ``first + i * every`` of the result.  Its taps are those of the filter from
    ``tap`` on, ``tap_step`` apart.
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
        """How much of the image so many positions see."""
        return (positions - 1) * self.step + (self.taps - 1) * self.reach + 1

    def inside(self, size: int) -> bool:
        """Whether no position sees padding."""
        return not self.taps or (self.base >= 0 and self.base + self.span(self.positions) <= size)


def axes_forward(
    x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[Axis, Axis]:
    """Return the axes of a convolution."""
    rows, columns = (
        Axis((size + 2 * p - d * (k - 1) - 1) // s + 1, 0, 1, s, -p, k, d, 0, 1)
        for size, k, s, p, d in zip(
            x.shape[1:3], weight.shape[1:3], stride, padding, dilation, strict=True
        )
    )
    return rows, columns


def phases(size: int, taps: int, stride: int, padding: int, dilation: int) -> Iterator[Axis]:
    """Yield the axes of the gradient by the image, which together make all its pixels.

    Pixel i gets what tap r gave to position (i + padding - r dilation) / stride.
    """
    tap_step = stride // gcd(stride, dilation)
    for first in range(min(stride, size)):
        able = [r for r in range(taps) if (first + padding - r * dilation) % stride == 0]
        last = able[-1] if able else 0  # the last tap sees the first position
        yield Axis(
            positions=-(-(size - first) // stride), first=first, every=stride, step=1,
            base=(first + padding - last * dilation) // stride, taps=len(able),
            reach=tap_step * dilation // stride, tap=last, tap_step=-tap_step,
        )  # fmt: skip
