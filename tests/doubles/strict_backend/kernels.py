"""Launches of the strict backend, and a test double of CUDA's stream capture.

Every computation of a strict array is a call of `run`.  During capture such a call has no effect
and is added to the graph with the memory of its arguments; launching the graph repeats the calls.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Launch = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[np.ndarray]]

_captures: list[list[Launch]] = []


def run(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Compute with NumPy's arrays, without warnings; scalar results become 0-d arrays."""
    if not _captures:
        with np.errstate(all="ignore"):
            return _arrays(function(*args, **options))
    given = list(_in(args)) + list(_in(options))
    before = [array.copy() for array in given]
    with np.errstate(all="ignore"):  # during capture memory has arbitrary values
        result = _arrays(function(*args, **options))
    for array, values in zip(given, before, strict=True):
        if array.flags.writeable:
            array[...] = values  # a captured kernel changes nothing
    fresh = []
    for array in _in(result):
        if not any(np.may_share_memory(array, other) for other in given):
            array.fill(np.nan if array.dtype.kind in "fc" else 0)
            fresh.append(array)
    _captures[-1].append((function, args, options, fresh))
    return result


def refuse_in_capture(what: str) -> None:
    """Raise CuPy's error for a synchronization or a transfer during capture."""
    if _captures:
        raise RuntimeError(f"the current stream is capturing, so {what} transfers are disallowed")


def is_capturing() -> bool:
    return bool(_captures)


class Graph:
    """A captured graph."""

    def __init__(self, launches: list[Launch]) -> None:
        self.launches = launches

    def launch(self) -> None:
        for function, args, options, fresh in self.launches:
            with np.errstate(all="ignore"):
                result = _arrays(function(*args, **options))
            if fresh:
                given = list(_in(args)) + list(_in(options))
                new = [a for a in _in(result) if not any(np.may_share_memory(a, g) for g in given)]
                for target, values in zip(fresh, new, strict=True):
                    target[...] = values


@contextmanager
def capturing() -> Iterator[Graph]:
    """Capture launches instead of carrying them out."""
    graph = Graph([])
    _captures.append(graph.launches)
    try:
        yield graph
    finally:
        _captures.remove(graph.launches)


def _arrays(result: Any) -> Any:
    if isinstance(result, np.generic):
        return np.asarray(result)
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*map(_arrays, result))
    if isinstance(result, list | tuple):
        return type(result)(map(_arrays, result))
    return result


def _in(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _in(item)
