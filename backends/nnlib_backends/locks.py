"""The locks of the whole process, and what becomes of them in a forked child.

A forked child has a single thread.  A lock that another thread of the parent held would stay locked
in it for ever, and what that thread was changing would stay half changed.  So a fork waits until
no thread holds one of these locks, which are always taken in the order in which they stand here.
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

registering = threading.RLock()  #: while backends are registered and made
preparing = threading.RLock()  #: while kernels are imported and compiled
running = threading.RLock()  #: while compiled kernels compute
drawing = threading.RLock()  #: while a position in a random stream changes
_forking = threading.RLock()

_in_order = (registering, preparing, running, drawing, _forking)
_inside: set[int] = set()  # threads in a function that is `finished_before_fork`
_closed = False  # no thread may enter one
_of_objects: weakref.WeakSet[Any] = weakref.WeakSet()


def lock_of_an_object() -> threading.RLock:
    """Return a new lock, which is free in a forked child whoever holds it in the parent.

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
        """Have the next use call the function again, for tests."""
        with preparing:
            self._results = []


def once(function: Callable[[], T]) -> Once[T]:
    """Have a function called at its first use only, whichever threads come first (a decorator).

    `functools.cache` would call it in each of several threads that come at once, and give them
    different results.

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
    """Have a fork wait for the calls of a function that other threads are in.

    For libraries with locks of their own, such as NumPy's BLAS, that several threads may call.

    Examples
    --------
    >>> finished_before_fork(max)(1, 2)
    2
    """

    @functools.wraps(function)
    def called(*args: P.args, **options: P.kwargs) -> T:
        thread = get_ident()
        _inside.add(thread)  # before looking: the fork looks in the other order
        if _closed:
            _inside.discard(thread)
            with _forking:  # wait for its end
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
        if not lock._is_owned():  # by the thread that forked, which goes on in the child
            lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):  # else there is no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
