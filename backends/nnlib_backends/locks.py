"""The locks of the process, safe across a fork.

A forked child has a single thread: a lock that another thread held would stay locked for ever, and
the data it protects half changed.  So a fork waits until it holds all these locks, which are always
taken in the order below.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable
from threading import get_ident
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = [
    "Once", "drawing", "finished_before_fork", "lock_of_an_object", "once", "preparing",
    "registering", "running",
]  # fmt: skip

T = TypeVar("T")
P = ParamSpec("P")

registering = threading.RLock()  #: registering and making backends
preparing = threading.RLock()  #: importing and compiling kernels
running = threading.RLock()  #: running compiled kernels
drawing = threading.RLock()  #: changing the position in a random stream
_forking = threading.RLock()

_in_order = (registering, preparing, running, drawing, _forking)
_inside: set[int] = set()  # threads inside a function that is `finished_before_fork`
_closed = False  # whether entering such a function is forbidden
_of_objects: weakref.WeakSet[Any] = weakref.WeakSet()


def lock_of_an_object() -> threading.RLock:
    """Return a new lock that is released in a forked child.

    Examples
    --------
    >>> with lock_of_an_object():
    ...     pass
    """
    lock = threading.RLock()
    _of_objects.add(lock)
    return lock


class Once(Generic[T]):
    """A function without arguments that is called at its first use only; made by `once`."""

    def __init__(self, function: Callable[[], T]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._results: list[T] = []

    def __call__(self) -> T:
        """Return the result of the one call."""
        results = self._results
        if not results:
            with preparing:
                if not results:
                    results.append(self._function())
        return results[0]

    def forget(self) -> None:
        """Discard the result, so that the next use calls the function again (for tests)."""
        with preparing:
            self._results = []


def once(function: Callable[[], T]) -> Once[T]:
    """Decorate a function so that it is called once per process, also by concurrent threads.

    `functools.cache` may call it once in each thread and return different results.

    Examples
    --------
    >>> @once
    ... def table():
    ...     return {}
    >>> table() is table()
    True
    """
    return Once(function)


def finished_before_fork(function: Callable[P, T]) -> Callable[P, T]:
    """Make a fork wait until no other thread is inside a function.

    For functions of libraries with locks of their own, such as NumPy's BLAS.

    Examples
    --------
    >>> finished_before_fork(max)(1, 2)
    2
    """

    @functools.wraps(function)
    def called(*args: P.args, **options: P.kwargs) -> T:
        thread = get_ident()
        _inside.add(thread)  # before reading _closed: `_before_fork` does it in the other order
        if _closed:
            _inside.discard(thread)
            with _forking:  # wait for the end of the fork
                _inside.add(thread)
        try:
            return function(*args, **options)
        finally:
            _inside.discard(thread)

    return called


def _before_fork() -> None:
    global _closed
    for lock in _in_order:
        lock.acquire()
    _closed = True
    while _inside - {get_ident()}:
        time.sleep(1e-4)


def _after_fork() -> None:
    global _closed
    _closed = False
    for lock in reversed(_in_order):
        lock.release()


def _in_child() -> None:
    _inside.clear()
    _after_fork()
    for lock in list(_of_objects):
        if not lock._is_owned():  # owned: by the thread that forked, the child's only one
            lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):  # else there is no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
