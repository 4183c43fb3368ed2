"""How operations are computed: recorded for a backward pass or not, in 16 bits or not.

Per thread and task.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any

__all__ = ["enable_grad", "is_grad_enabled", "low", "low_dtype", "no_grad", "without_autocast"]

_enabled: ContextVar[bool] = ContextVar("nnlib_grad_enabled", default=True)
is_grad_enabled: Callable[[], bool] = _enabled.get

low: ContextVar[Any] = ContextVar("nnlib_autocast", default=None)
low_dtype: Callable[[], Any] = low.get  #: the 16-bit dtype of `autocast`, or None


class _Mode(ContextDecorator):
    value: bool

    def __init__(self) -> None:
        self._tokens: list[Token[bool]] = []  # a stack: one object may be entered again inside

    def _recreate_cm(self) -> _Mode:  # a decorated function may run in several threads at once
        return type(self)()

    def __enter__(self) -> None:
        self._tokens.append(_enabled.set(self.value))

    def __exit__(self, *_: object) -> None:
        _enabled.reset(self._tokens.pop())


class no_grad(_Mode):  # noqa: N801 - used like a function, named as in PyTorch
    """Do not record operations: a context manager and a decorator.

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
    """Record operations, also inside `no_grad`: a context manager and a decorator.

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
    """Inside, operations compute with what they get, as outside of `autocast`.

    Examples
    --------
    >>> import nnlib
    >>> with nnlib.autocast("fp16"), without_autocast():
    ...     low_dtype()
    """

    def __enter__(self) -> None:
        self._token = low.set(None)

    def __exit__(self, *_: object) -> None:
        low.reset(self._token)
