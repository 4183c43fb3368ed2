"""What an update rule is: how an optimizer changes one parameter, in place.

A rule is written in operators on bare arrays, its **definition**::

    @update_rule(scalars=("lr",), samples=[((), {"lr": 0.1}, {})])
    def plain(xp, p, g, *, lr):
        p -= lr * g

Its scalars change from step to step.  They come together: as a list of floats, or as an array of
the state's dtype and the parameter's backend where a recorded step must find the new ones.  The
definition gets them by name.  What an option switches on or off is a flag, a Python value.

Like a fused operation it can be replaced: a backend that has a faster way lists it under the same
name in ``Backend.updates``, and the conformance test compares it with the definition on the
samples.  A replacement is called without ``xp``, gets the scalars as one array, and must give the
same values, or return ``NotImplemented`` and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

from nnlib_backends.base import Array, Backend
from nnlib_backends.dtypes import is_half

__all__ = ["UpdateRule", "update_rule"]

SLICE = 1 << 14  # elements that pass through a definition at once on the CPU

Sample: TypeAlias = tuple[tuple[bool, ...], dict[str, float], dict[str, bool]]


class UpdateRule:
    """An in-place update of a parameter and of the state that belongs to it.

    Attributes
    ----------
    name : str
        Under which a backend may offer a replacement.
    definition : callable
        ``definition(xp, p, g, *state, **scalars, **flags)``: changes ``p`` and the state arrays,
        but not the gradient ``g``.  All have one shape and dtype (a parameter of 16 bits comes as
        float32, and is rounded afterwards); a state array that the options leave out is ``None``.
    scalars : tuple of str
        Names of its scalars, in their order.
    samples : list of (present, scalars, flags)
        For the conformance test: which state arrays are there, scalars and flags by name.
    registry : dict
        All rules by name.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib_backends import load_backend
    >>> @update_rule(scalars=("lr",), samples=[])
    ... def halfway(xp, p, g, *, lr):
    ...     p -= 0.5 * lr * g
    >>> p = np.array([1.0, 2.0])
    >>> halfway(load_backend("numpy"), p, np.ones(2), scalars=np.array([1.0]))
    >>> p
    array([0.5, 1.5])
    >>> _ = UpdateRule.registry.pop("halfway")  # only an example
    """

    registry: ClassVar[dict[str, UpdateRule]] = {}

    def __init__(
        self,
        definition: Callable[..., None],
        scalars: Sequence[str],
        samples: Sequence[Sample],
    ) -> None:
        self.name, self.__module__ = definition.__name__, definition.__module__
        self.definition = definition
        self.scalars = tuple(scalars)
        self.samples = list(samples)
        UpdateRule.registry[self.name] = self

    def __call__(
        self,
        backend: Backend,
        p: Array,
        g: Array,
        *state: Array | None,
        scalars: Any,
        skip: Array | None = None,
        **flags: Any,
    ) -> None:
        """Update with the backend's replacement, or else by the definition.

        If ``skip``, a 0-d array, is not 0, nothing changes: only where `can_skip`.
        """
        if skip is not None:
            flags["skip"] = skip
        if backend.scope is None:
            self._update(backend, p, g, *state, scalars=scalars, **flags)
        else:
            with backend.scope:
                self._update(backend, p, g, *state, scalars=scalars, **flags)

    def can_skip(self, backend: Backend) -> bool:
        """Tell whether the backend's replacement knows ``skip``."""
        return backend.skips_updates and self.name in backend.updates

    def _update(
        self, backend: Backend, p: Array, g: Array, *state: Array | None, scalars: Any, **flags: Any
    ) -> None:
        if is_half(p):  # the state is float32, too: 16 bits hold neither an eps nor small squares
            wide = p.astype("float32")
            self._update(backend, wide, g.astype("float32"), *state, scalars=scalars, **flags)
            p[...] = wide
            return
        arrays = (p, g, *state)
        replacement = backend.updates.get(self.name)
        if replacement is None or replacement(*arrays, scalars, **flags) is NotImplemented:
            named = {name: scalars[i] for i, name in enumerate(self.scalars)}
            for part in _slices(arrays) if backend.host_memory else [arrays]:
                self.definition(backend.xp, *part, **named, **flags)

    def __reduce__(self) -> str:
        """Pickle like a function, by its name; a copy is the rule itself."""
        return self.name

    def __repr__(self) -> str:
        return f"<nnlib update rule {self.name}>"


def _slices(arrays: Sequence[Array | None]) -> Iterator[Sequence[Array | None]]:
    """Yield matching slices of contiguous arrays, whose temporaries then fit into the cache."""
    given = [a for a in arrays if a is not None]
    if given[0].size <= SLICE or not all(a.flags.c_contiguous for a in given):
        yield arrays
        return
    flat = [None if a is None else a.reshape(-1) for a in arrays]
    for start in range(0, given[0].size, SLICE):
        yield [None if a is None else a[start : start + SLICE] for a in flat]


def update_rule(
    scalars: Sequence[str], samples: Sequence[Sample]
) -> Callable[[Callable[..., None]], UpdateRule]:
    """Make an update rule of its definition (a decorator).

    Parameters
    ----------
    scalars : sequence of str
        Names of the scalars, in the order in which their array holds them.
    samples : list of (present, scalars, flags)
        For the conformance test: which state arrays are there, scalars and flags by name.

    Examples
    --------
    >>> @update_rule(scalars=("lr",), samples=[((), {"lr": 0.1}, {})])
    ... def plain(xp, p, g, *, lr):
    ...     p -= lr * g
    >>> plain
    <nnlib update rule plain>
    >>> _ = UpdateRule.registry.pop("plain")  # only an example
    """
    return lambda definition: UpdateRule(definition, scalars, samples)
