"""nnlib's kernels of bias and activation for cuDNN's convolutions."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.cudnn.convolution import Epilogue
from nnlib_backends.cupy_backend.kernels import epilogue
from nnlib_backends.cupy_backend.kernels.launch import Launcher, known

__all__ = ["make_epilogue"]


def make_epilogue(launcher: Launcher) -> Epilogue:
    """Return functions with one pass over memory each."""

    def activate(y: Array, activation: str) -> Any:
        if not known(y):
            return NotImplemented
        epilogue.add_bias(launcher, y, None, activation)
        return y

    def sum_bias(g: Array, y: Array | None, activation: str | None, out: Array | None) -> Any:
        if not known(g):
            return NotImplemented
        return epilogue.sum_bias(launcher, g, y, activation, out)

    return Epilogue(activate, sum_bias)
