"""Which kernels there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnlib_backends.base import KernelPair, PrimitiveKernel
from nnlib_backends.common.fused import into_targets
from nnlib_backends.cupy_backend.kernels import (
    batch_norm,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    epilogue,
    pooling,
    recurrent,
    row_norm,
    softmax,
    updates,
)
from nnlib_backends.cupy_backend.kernels.launch import Launcher

__all__ = ["MIXED", "make_kernels", "make_primitives", "make_updates"]

_FAMILIES: tuple[Any, ...] = (
    batch_norm,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    pooling,
    row_norm,
)
_WITHOUT_TARGETS: tuple[Any, ...] = (epilogue, recurrent)

#: Operations and primitives that take data of 16 bits, see `Backend.mixed`.  Softmax does, too, but
#: gives 16 bits then, and `nnlib.autocast` wants float32.
MIXED = frozenset(
    {
        "avg_pool2d", "batch_norm", "dropout", "embedding", "gelu", "layer_norm", "max_pool2d",
        "relu", "rms_norm", "sigmoid", "sigmoid_cross_entropy", "silu", "softmax_cross_entropy",
        "tanh",
    }
)  # fmt: skip


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return name → kernel, all of which leave gradients where they are told.

    Parameters
    ----------
    launcher : Launcher
    general : mapping
        Kernels of the same names, for what these do not serve; they, too, take targets.
    """
    table: dict[str, KernelPair] = {}
    for family in _WITHOUT_TARGETS:
        made = family.make_kernels(launcher, general)
        table.update({name: into_targets(kernel) for name, kernel in made.items()})
    for family in _FAMILIES:
        table.update(family.make_kernels(launcher, general))
    return table


def make_primitives(launcher: Launcher) -> dict[str, PrimitiveKernel]:
    """Return name → kernel of a primitive."""
    return elementwise.make_primitives(launcher) | softmax.make_primitives(launcher)


def make_updates(launcher: Launcher) -> dict[str, Callable[..., None]]:
    """Return name → update of an optimizer."""
    return updates.make_updates(launcher)
