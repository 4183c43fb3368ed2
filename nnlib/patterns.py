"""Select parts of a model by patterns of names."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from nnlib.errors import OptionError, did_you_mean

__all__ = ["matching"]


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that fit a pattern such as ``"features.*"``; ``*`` also matches dots.

    Raises
    ------
    OptionError
        If none does, such as for a pattern with a typing error.

    Examples
    --------
    >>> matching("features.*.bias", ["features.0.weight", "features.0.bias", "head.bias"])
    ['features.0.bias']
    """
    names = list(names)
    if not isinstance(pattern, str):
        raise OptionError(f"a pattern must be a text, such as 'features.*'. Received: {pattern!r}")
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise OptionError(
            "a pattern must match the name of a parameter or buffer, such as "
            f"{', '.join(names[:2]) or 'none: the model has none'}{', …' if names[2:] else ''}. "
            f"Received: {pattern!r}.{_hint(pattern, names)}"
        )
    return found


def _hint(pattern: str, names: list[str]) -> str:
    below = f"{pattern.rstrip('.')}.*"
    if any(fnmatchcase(name, below) for name in names):
        return f" Did you mean {below!r}?"
    return did_you_mean(pattern, [*names, *{f"{name.partition('.')[0]}.*" for name in names}])
