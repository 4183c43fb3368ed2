"""The handle that removes a hook of a module or a tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """Handle of a registered hook, which removes it.

    Call `remove` or the handle itself, or use the handle in a ``with`` block, which removes the
    hook at its end.  Removing a hook twice has no effect.  A handle that is copied together with
    its module or tensor belongs to the copy's hook.

    Parameters
    ----------
    owner : object
        Object with a method ``_remove_hook(key)``, held by a weak reference.
    key : object
        Key of the hook in its owner.

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
        """Remove the hook."""
        owner = self._owner()
        if owner is not None:
            owner._remove_hook(self._key)

    def __call__(self) -> None:
        """Remove the hook."""
        self.remove()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __getstate__(self) -> dict[str, Any]:
        return {"owner": self._owner(), "key": self._key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        owner = state["owner"]
        self._owner = _no_owner if owner is None else weakref.ref(owner)
        self._key = state["key"]


def _no_owner() -> None:
    """Stand for a weak reference to a deleted owner."""
