"""`UpdateRule`: the in-place update of one parameter by an optimizer.

A rule is written in operators on arrays, its **definition**::

    @update_rule(scalars=("lr",), samples=[((), {"lr": 0.1}, {})])
    def plain(xp, p, g, *, lr):
        p -= lr * g

Its scalars change from step to step.  A rule is called with all of them in one list of floats, or
in one array of the state's dtype that a replay can refill; the definition has them as keywords.
Its flags are Python values, constants of a trace, that select parts of the rule.

Like a fused operation, a rule can be replaced: a backend lists a faster function under the same
name in ``Backend.updates``, and the conformance test compares it with the definition on the
samples.  A replacement is called without ``xp``, gets the scalars as one array, and ``skip`` if a
step may have to be left out (see `UpdateRule`).  It must give the same values, or return
``NotImplemented`` and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, TypeAlias

from nnlib_backends.base import Array, Backend
from nnlib_backends.dtypes import is_half

__all__ = ["UpdateRule", "call_update", "update_rule"]

SLICE = 1 << 14  # elements per call of a definition on the CPU

Sample: TypeAlias = tuple[tuple[bool, ...], dict[str, float], dict[str, bool]]


class UpdateRule:
    """An in-place update of a parameter and its state.

    Attributes
    ----------
    name : str
        Name of a replacement in ``Backend.updates``.
    definition : callable
        ``definition(xp, p, g, *state, **scalars, **flags)``: changes ``p`` and the state arrays,
        but not the gradient ``g``.  All have one shape and dtype (a 16-bit parameter is converted
        to float32, and rounded afterwards); a state array that is not needed is ``None``.
    scalars : tuple of str
        Names of its scalars, in order.
    samples : list of (present, scalars, flags)
        For the conformance test: which state arrays are not None, scalars and flags by name.
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
        """Update with the backend's replacement, or else with the definition.

        If ``skip``, a 0-d array, is not 0, nothing changes.
        """
        if backend.scope is None:
            self._update(backend, p, g, *state, scalars=scalars, skip=skip, **flags)
        else:
            with backend.scope:
                self._update(backend, p, g, *state, scalars=scalars, skip=skip, **flags)

    def _update(
        self, backend: Backend, p: Array, g: Array, *state: Array | None, scalars: Any,
        skip: Array | None, **flags: Any,
    ) -> None:  # fmt: skip
        if is_half(p):  # the state is float32, too: 16 bits hold neither an eps nor small squares
            wide, g = p.astype("float32"), g.astype("float32")
            self._update(backend, wide, g, *state, scalars=scalars, skip=skip, **flags)
            p[...] = wide
            return
        arrays = (p, g, *state)
        replacement, xp = backend.updates.get(self.name), backend.xp
        if replacement is not None:
            given = flags if skip is None else {**flags, "skip": skip}
            if replacement(*arrays, scalars, **given) is not NotImplemented:
                return
        named = {name: scalars[i] for i, name in enumerate(self.scalars)}
        for part in _slices(arrays) if backend.host_memory else [arrays]:
            own = [] if skip is None else [a for a in (part[0], *part[2:]) if a is not None]
            before = [array.copy() for array in own]
            self.definition(xp, *part, **named, **flags)
            for array, old in zip(own, before, strict=True):
                array[...] = xp.where(skip != 0, old, array)

    def __reduce__(self) -> str:
        """Pickle like a function, by its name; a copy is the rule itself."""
        return self.name

    def __repr__(self) -> str:
        return f"<nnlib update rule {self.name}>"


def call_update(backend: Backend, name: str, *args: Any) -> Any:
    """Call the function of this name in `Backend.updates`; ``NotImplemented`` where there is none.

    Examples
    --------
    >>> from nnlib_backends import load_backend
    >>> call_update(load_backend("numpy"), "no such name")
    NotImplemented
    """
    update = backend.updates.get(name)
    if update is None:
        return NotImplemented
    with backend.scope or nullcontext():
        return update(*args)


def _slices(arrays: Sequence[Array | None]) -> Iterator[Sequence[Array | None]]:
    """Yield matching slices of contiguous arrays, so that temporaries fit into the cache."""
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
        Names of the scalars, in the order of their array.
    samples : list of (present, scalars, flags)
        For the conformance test: which state arrays are not None, scalars and flags by name.

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
