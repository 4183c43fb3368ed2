"""Hooks, functions that somebody wants called in a pass: their handles, and those of gradients."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """What registering a hook returns: it takes the hook away again.

    Call `remove`, or the handle itself, or use it in a ``with`` block, after which the hook is
    gone.  A hook that was taken away already stays away.  A handle that is copied together with its
    module or tensor is the handle of the copy's hook.

    Parameters
    ----------
    owner : object
        Has ``_remove_hook(key)``.  The handle does not keep it alive.
    key : object
        What the owner knows the hook by.

    Examples
    --------
    >>> import nnlib
    >>> layer = nnlib.nn.Linear(2, 1)
    >>> handle = layer.register_forward_hook(lambda module, inputs, output: 0 * output + 1)
    >>> layer(nnlib.ones(1, 2)).tolist()
    [[1.0]]
    >>> handle.remove()
    >>> with layer.register_forward_hook(lambda module, inputs, output: output + 1):
    ...     y = layer(nnlib.ones(1, 2))
    """

    def __init__(self, owner: Any, key: object) -> None:
        self._owner: Callable[[], Any] = weakref.ref(owner)
        self._key = key

    def remove(self) -> None:
        """Take the hook away."""
        owner = self._owner()
        if owner is not None:
            owner._remove_hook(self._key)

    def __call__(self) -> None:
        """Take the hook away."""
        self.remove()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __getstate__(self) -> dict[str, Any]:
        return {"owner": self._owner(), "key": self._key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        owner = state["owner"]
        self._owner = _nobody if owner is None else weakref.ref(owner)
        self._key = state["key"]


def _nobody() -> None:
    """Stand for a reference to what is gone."""
