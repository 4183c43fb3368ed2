"""The modes of the current thread and task: whether gradients are enabled, and autocast's dtype."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Any

__all__ = [
    "enable_grad",
    "enter",
    "half_dtype",
    "is_grad_enabled",
    "leave",
    "low",
    "no_grad",
    "without_autocast",
]  # fmt: skip

_enabled: ContextVar[bool] = ContextVar("nnlib_grad_enabled", default=True)
is_grad_enabled: Callable[[], bool] = _enabled.get

low: ContextVar[Any] = ContextVar("nnlib_autocast", default=None)
half_dtype: Callable[[], Any] = low.get  #: the 16-bit dtype of `autocast`, or None

# The variables that were set, each with its previous value.
_before: ContextVar[tuple[tuple[ContextVar[Any], Any], ...]] = ContextVar("nnlib_modes", default=())


def enter(variable: ContextVar[Any], value: Any) -> None:
    """Set a mode until the matching `leave`."""
    _before.set((*_before.get(), (variable, variable.get())))
    variable.set(value)


def leave(variable: ContextVar[Any]) -> None:
    """Restore a mode's value from before the last `enter` in this thread and task."""
    entries = _before.get()
    for i in range(len(entries) - 1, -1, -1):  # a generator may leave its mode out of order
        entered, value = entries[i]
        if entered is variable:
            _before.set(entries[:i] + entries[i + 1 :])
            variable.set(value)
            return


class _Mode(ContextDecorator):
    value: bool

    def __enter__(self) -> None:
        enter(_enabled, self.value)

    def __exit__(self, *_: object) -> None:
        leave(_enabled)


class no_grad(_Mode):  # noqa: N801 - used like a function, named as in PyTorch
    """Disable gradients, so that operations leave no tape: a context manager and a decorator.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor(2.0, requires_grad=True)
    >>> with nnlib.no_grad():
    ...     (w * w).requires_grad
    False
    """

    value = False


class enable_grad(_Mode):  # noqa: N801 - as above
    """Enable gradients, also inside `no_grad`: a context manager and a decorator.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor(2.0, requires_grad=True)
    >>> with nnlib.no_grad(), nnlib.enable_grad():
    ...     (w * w).requires_grad
    True
    """

    value = True


class without_autocast:  # noqa: N801 - as above
    """Compute as outside `autocast`: a context manager.

    Examples
    --------
    >>> import nnlib
    >>> with nnlib.autocast("fp16"), without_autocast():
    ...     half_dtype()
    """

    def __enter__(self) -> None:
        self._token = low.set(None)

    def __exit__(self, *_: object) -> None:
        low.reset(self._token)
