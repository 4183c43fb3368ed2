"""The table of nnlib's CUDA kernels: kernel pairs, primitives and updates by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnlib_backends.base import KernelPair, PrimitiveKernel
from nnlib_backends.cupy_backend.kernels import (
    batch_norm,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    epilogue,
    gradient_norm,
    pooling,
    recurrent,
    row_norm,
    softmax,
    updates,
)
from nnlib_backends.cupy_backend.kernels.launch import Launcher

__all__ = ["make_kernels", "make_primitives", "make_updates"]

_FAMILIES: tuple[Any, ...] = (
    batch_norm,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    epilogue,
    pooling,
    recurrent,
    row_norm,
)


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return name → kernel.

    Parameters
    ----------
    launcher : Launcher
    general : mapping
        Kernels of the same names, for what these do not serve.
    """
    table: dict[str, KernelPair] = {}
    for family in _FAMILIES:
        table.update(family.make_kernels(launcher, general))
    return table


def make_primitives(launcher: Launcher) -> dict[str, PrimitiveKernel]:
    """Return name → kernels of a primitive."""
    return elementwise.make_primitives(launcher) | softmax.make_primitives(launcher)


def make_updates(launcher: Launcher) -> dict[str, Callable[..., Any]]:
    """Return name → function that changes arrays in place, see `Backend`."""
    return {**updates.make_updates(launcher), **gradient_norm.make_updates(launcher)}
