"""What an update rule is: how an optimizer changes one parameter, in place.

A rule is written in operators on bare arrays, its **definition**::

    @update_rule(samples=[((), {"lr": 0.1})])
    def plain(xp, p, g, *, lr):
        p -= lr * g

Like a fused operation it can be replaced: a backend that has a faster way lists it under the same
name in ``Backend.updates``, and the conformance test compares it with the definition on the
samples.  A replacement is called without ``xp`` and must give the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from nnlib_backends.contract import Array, Backend

__all__ = ["UpdateRule", "update_rule"]


class UpdateRule:
    """An in-place update of a parameter and of the state that belongs to it.

    Attributes
    ----------
    name : str
        Under which a backend may offer a replacement.
    definition : callable
        ``definition(xp, p, g, *state, **numbers)``: changes ``p`` and the state arrays, but not
        the gradient ``g``.  All have one shape and dtype; a state array that the options leave out
        is ``None``.
    samples : list of (present, numbers)
        For the conformance test: which state arrays are there, and the numbers.
    registry : dict
        All rules by name.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib_backends import load_backend
    >>> @update_rule(samples=[((), {"lr": 0.1})])
    ... def halfway(xp, p, g, *, lr):
    ...     p -= 0.5 * lr * g
    >>> p = np.array([1.0, 2.0])
    >>> halfway(load_backend("numpy"), p, np.ones(2), lr=1.0)
    >>> p
    array([0.5, 1.5])
    >>> _ = UpdateRule.registry.pop("halfway")  # only an example
    """

    registry: ClassVar[dict[str, UpdateRule]] = {}

    def __init__(
        self,
        definition: Callable[..., None],
        samples: Sequence[tuple[tuple[bool, ...], dict[str, Any]]],
    ) -> None:
        self.name = definition.__name__
        self.definition = definition
        self.samples = list(samples)
        UpdateRule.registry[self.name] = self

    def __call__(
        self, backend: Backend, p: Array, g: Array, *state: Array | None, **numbers: Any
    ) -> None:
        """Update with the backend's replacement, or else by the definition."""
        if backend.scope is None:
            self._update(backend, p, g, *state, **numbers)
        else:
            with backend.scope:
                self._update(backend, p, g, *state, **numbers)

    def _update(self, backend: Backend, *arrays: Array | None, **numbers: Any) -> None:
        replacement = backend.updates.get(self.name)
        if replacement is None:
            self.definition(backend.xp, *arrays, **numbers)
        else:
            replacement(*arrays, **numbers)

    def __repr__(self) -> str:
        return f"<nnlib update rule {self.name}>"


def update_rule(
    samples: Sequence[tuple[tuple[bool, ...], dict[str, Any]]],
) -> Callable[[Callable[..., None]], UpdateRule]:
    """Make an update rule of its definition (a decorator).

    Parameters
    ----------
    samples : list of (present, numbers)
        For the conformance test: which state arrays are there, and the numbers.

    Examples
    --------
    >>> @update_rule(samples=[((), {"lr": 0.1})])
    ... def plain(xp, p, g, *, lr):
    ...     p -= lr * g
    >>> plain
    <nnlib update rule plain>
    >>> _ = UpdateRule.registry.pop("plain")  # only an example
    """
    return lambda definition: UpdateRule(definition, samples)
