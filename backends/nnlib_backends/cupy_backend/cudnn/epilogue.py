"""Own kernels for what cuDNN leaves to others around a convolution."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.cudnn.convolution import Around
from nnlib_backends.cupy_backend.kernels import epilogue
from nnlib_backends.cupy_backend.kernels.launch import Launcher, known

__all__ = ["make_around"]


def make_around(launcher: Launcher) -> Around:
    """Return activations, and derivative and bias gradient, in one pass each."""

    def activate(y: Array, activation: str) -> Any:
        if not known(y):
            return NotImplemented
        epilogue.add_bias(launcher, y, None, activation)
        return y

    def sum_bias(g: Array, y: Array | None, activation: str | None, out: Array | None) -> Any:
        if not known(g):
            return NotImplemented
        return epilogue.sum_bias(launcher, g, y, activation, out)

    return Around(activate, sum_bias)
