"""What an update rule is: how an optimizer changes one parameter, in place.

A rule is written in operators on bare arrays, its **definition**::

    @update_rule(numbers=("lr",), samples=[((), {"lr": 0.1}, {})])
    def plain(xp, p, g, *, lr):
        p -= lr * g

Its numbers change from step to step.  They come together: as a list of floats, or as an array of
the state's dtype and the parameter's backend where a recorded step must find the new ones.  The
definition gets them by name.  What an option switches on or off is a flag, a Python value.

Like a fused operation it can be replaced: a backend that has a faster way lists it under the same
name in ``Backend.updates``, and the conformance test compares it with the definition on the
samples.  A replacement is called without ``xp``, gets the numbers as one array, and must give the
same values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, TypeAlias

from nnlib_backends.contract import Array, Backend
from nnlib_backends.precision import is_low

__all__ = ["UpdateRule", "update_rule"]

Sample: TypeAlias = tuple[tuple[bool, ...], dict[str, float], dict[str, bool]]


class UpdateRule:
    """An in-place update of a parameter and of the state that belongs to it.

    Attributes
    ----------
    name : str
        Under which a backend may offer a replacement.
    definition : callable
        ``definition(xp, p, g, *state, **numbers, **flags)``: changes ``p`` and the state arrays,
        but not the gradient ``g``.  All have one shape and dtype (a parameter of 16 bits comes as
        float32, and is rounded afterwards); a state array that the options leave out is ``None``.
    numbers : tuple of str
        Names of its numbers, in their order.
    samples : list of (present, numbers, flags)
        For the conformance test: which state arrays are there, numbers and flags by name.
    registry : dict
        All rules by name.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib_backends import load_backend
    >>> @update_rule(numbers=("lr",), samples=[])
    ... def halfway(xp, p, g, *, lr):
    ...     p -= 0.5 * lr * g
    >>> p = np.array([1.0, 2.0])
    >>> halfway(load_backend("numpy"), p, np.ones(2), numbers=np.array([1.0]))
    >>> p
    array([0.5, 1.5])
    >>> _ = UpdateRule.registry.pop("halfway")  # only an example
    """

    registry: ClassVar[dict[str, UpdateRule]] = {}

    def __init__(
        self,
        definition: Callable[..., None],
        numbers: Sequence[str],
        samples: Sequence[Sample],
    ) -> None:
        self.name = definition.__name__
        self.definition = definition
        self.numbers = tuple(numbers)
        self.samples = list(samples)
        UpdateRule.registry[self.name] = self

    def __call__(
        self,
        backend: Backend,
        p: Array,
        g: Array,
        *state: Array | None,
        numbers: Any,
        skip: Array | None = None,
        **flags: Any,
    ) -> None:
        """Update with the backend's replacement, or else by the definition.

        If ``skip``, a 0-d array, is not 0, nothing changes: only where `can_skip`.
        """
        if skip is not None:
            flags["skip"] = skip
        with backend.scope or nullcontext():
            self._update(backend, p, g, *state, numbers=numbers, **flags)

    def can_skip(self, backend: Backend) -> bool:
        """Tell whether the backend's replacement knows ``skip``."""
        return backend.skips_updates and self.name in backend.updates

    def _update(
        self, backend: Backend, p: Array, g: Array, *state: Array | None, numbers: Any, **flags: Any
    ) -> None:
        if is_low(p):  # the state is float32, too: 16 bits hold neither an eps nor small squares
            wide = p.astype("float32")
            self._update(backend, wide, g.astype("float32"), *state, numbers=numbers, **flags)
            p[...] = wide
            return
        arrays = (p, g, *state)
        replacement = backend.updates.get(self.name)
        if replacement is None:
            named = {name: numbers[i] for i, name in enumerate(self.numbers)}
            self.definition(backend.xp, *arrays, **named, **flags)
        else:
            replacement(*arrays, numbers, **flags)

    def __repr__(self) -> str:
        return f"<nnlib update rule {self.name}>"


def update_rule(
    numbers: Sequence[str], samples: Sequence[Sample]
) -> Callable[[Callable[..., None]], UpdateRule]:
    """Make an update rule of its definition (a decorator).

    Parameters
    ----------
    numbers : sequence of str
        Names of the numbers, in the order in which their array holds them.
    samples : list of (present, numbers, flags)
        For the conformance test: which state arrays are there, numbers and flags by name.

    Examples
    --------
    >>> @update_rule(numbers=("lr",), samples=[((), {"lr": 0.1}, {})])
    ... def plain(xp, p, g, *, lr):
    ...     p -= lr * g
    >>> plain
    <nnlib update rule plain>
    >>> _ = UpdateRule.registry.pop("plain")  # only an example
    """
    return lambda definition: UpdateRule(definition, numbers, samples)
