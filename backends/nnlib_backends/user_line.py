"""The line of the user's program from which nnlib was called."""

from __future__ import annotations

import sys

__all__ = ["lines_up", "user_line"]

# contextlib's and functools's wrappers lie between nnlib's own frames
_NOT_THE_USERS = {"nnlib", "nnlib_backends", "contextlib", "functools"}


def user_line() -> str:
    """Return ``file:line`` of the innermost frame that is not nnlib's.

    Examples
    --------
    >>> user_line().rpartition(":")[2].isdigit()
    True
    """
    frame = sys._getframe(lines_up() - 1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def lines_up() -> int:
    """Return how many frames the caller is below the user's line: the ``stacklevel`` of a warning.

    Examples
    --------
    >>> lines_up() >= 1
    True
    """
    frame, count = sys._getframe(1), 1
    while frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USERS:
        if frame.f_back is None:
            break
        frame, count = frame.f_back, count + 1
    return count
