"""Which kernels there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnlib_backends.contract import Kernel, PrimitiveKernel
from nnlib_backends.cupy_backend.kernels import (
    batch_norm,
    columns,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    pooling,
    recurrent,
    row_norm,
    updates,
)
from nnlib_backends.cupy_backend.kernels.launcher import Launcher

__all__ = ["make_kernels", "make_primitives", "make_updates"]

_FAMILIES: tuple[Any, ...] = (
    batch_norm,
    columns,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    pooling,
    recurrent,
    row_norm,
)


def make_kernels(launcher: Launcher, general: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """Return name → kernel.

    Parameters
    ----------
    launcher : Launcher
    general : mapping
        Kernels of the same names, for what these do not serve.
    """
    table: dict[str, Kernel] = {}
    for family in _FAMILIES:
        table.update(family.make_kernels(launcher, general))
    return table


def make_primitives(launcher: Launcher) -> dict[str, PrimitiveKernel]:
    """Return name → kernel of a primitive."""
    return elementwise.make_primitives(launcher)


def make_updates(launcher: Launcher) -> dict[str, Callable[..., None]]:
    """Return name → update of an optimizer."""
    return updates.make_updates(launcher)
