"""Launchers of ``updates.cu``: one kernel updates all parameters of a flat buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.kernels.launch import DTYPES, Launcher

__all__ = ["make_updates"]

_FILE = "updates"
_FLAGS = {  # in the order of the kernels' arguments
    "adagrad": ("decayed",),
    "adam": ("decayed", "decoupled"),
    "rmsprop": ("decayed",),
    "sgd": ("nesterov", "decayed"),
}


def make_updates(launcher: Launcher) -> dict[str, Callable[..., None]]:
    """Return name → ``update(p, g, *state, scalars, skip=None, **flags)``, in place.

    If ``skip``, a 0-d array, is not 0, nothing changes.
    """
    return {name: _update(launcher, name) for name in _FLAGS}


def _update(launcher: Launcher, name: str) -> Callable[..., None]:
    def update(p: Array, g: Array, *rest: Any, skip: Array | None = None, **flags: bool) -> None:
        *state, scalars = rest
        if p.size == 0:
            return
        dtype = p.dtype if p.dtype.name in DTYPES else "float32"
        given = [p, g, *state]
        dense = [None if a is None else launcher.dense(a, dtype) for a in given]
        scalars = launcher.xp.asarray(scalars, dtype=dtype)
        skip = None if skip is None else launcher.dense(skip, "float32")
        options = [int(flags[flag]) for flag in _FLAGS[name]]
        launcher.elementwise(
            _FILE, name, *dense, scalars, skip, *options, p.size, n=p.size, like=dense[0]
        )
        for original, changed in zip(given, dense, strict=True):
            if changed is not original and original is not g:
                original[...] = changed

    return update
