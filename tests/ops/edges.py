"""Shapes and memory at the edge, made from the samples of the table: see `test_edges`."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from ops.table import Case, Values

AXES = 7  #: more than any layer has


def edges(one: Case) -> Iterator[tuple[str, Case]]:
    """Yield names and cases: one number, no or one place along each axis, seven axes."""
    for n in _sizes(one):
        for size in (0, 1):
            yield f"{size} for {n}", _changed(one, lambda x, n=n, size=size: _resized(x, n, size))
    for name, shape_of in [
        ("one number", lambda shape: ()),
        ("nothing", lambda shape: (0,) * len(shape)),
        ("seven axes", lambda shape: (1, 2, *(1,) * (AXES - 2 - len(shape)), *shape)),
    ]:
        yield name, _changed(one, lambda x, f=shape_of: replace(x, shape=f(x.shape)))


def _changed(one: Case, change: Callable[[Values], Values]) -> Case:
    inputs = (change(x) if isinstance(x, Values) else x for x in one.inputs)
    return Case(tuple(inputs), one.options)


def _sizes(one: Case) -> list[int]:
    """Every size that an axis has, so that axes of one size stay so."""
    shapes = (x.shape for x in one.inputs if isinstance(x, Values))
    return sorted(set(itertools.chain(*shapes)) - {0, 1})


def _resized(x: Values, old: int, new: int) -> Values:
    shape = tuple(new if n == old else n for n in x.shape)
    return replace(x, shape=shape, high=max(new, 1) if x.high == old else x.high)


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same values in other memory: name → array."""
    frozen = x.copy()
    frozen.flags.writeable = False
    found = {"read-only": frozen, "byte-swapped": x.astype(x.dtype.newbyteorder())}
    if x.ndim:
        wide = np.zeros([2 * n for n in x.shape], x.dtype)
        places = (slice(None, None, 2),) * x.ndim
        wide[places] = x
        found["strided"] = wide[places]
        found["reversed"] = x[::-1].copy()[::-1]
        found["transposed"] = np.ascontiguousarray(x.T).T
    return found
