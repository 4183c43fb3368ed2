"""Python values that a recording depends on: looked at again before each replay, at low cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import is_
from typing import Any

from nnlib_backends.common.trace import is_plain, same_value

__all__ = ["MISSING", "ValueGuards", "described"]

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()


class ValueGuards:
    """What was read, with the value that it had when it was read first.

    Attributes
    ----------
    refused : str
        Why what was read cannot be looked at again, if there is such a thing.
    """

    def __init__(self) -> None:
        self.refused = ""
        self._attributes: dict[tuple[int, str], list[Any]] = {}
        self._entries: dict[tuple[int, Any], list[Any]] = {}
        self._containers: dict[int, list[Any]] = {}
        self._growing: dict[int, list[Any]] = {}
        self._sources: dict[int, list[Any]] = {}

    # Noting ------------------------------------------------------------------------------------

    def refuse(self, what: str) -> None:
        """Note what cannot be looked at again; the first counts."""
        self.refused = self.refused or what

    def attribute(self, holder: Any, name: str, value: Any, text: str, where: str) -> None:
        """An attribute was read."""
        self._attributes.setdefault((id(holder), name), [holder, name, value, text, where])

    def item(self, holder: dict[Any, Any], key: Any, text: str, where: str) -> None:
        """A key was looked up in a dict."""
        if (id(holder), key) not in self._entries:
            self._entries[id(holder), key] = [holder, key, holder.get(key), text, where]

    def items(self, holder: Any, text: str, where: str, most: int) -> None:
        """All of a list, set or dict was read; of one longer than ``most`` only the length."""
        if id(holder) not in self._containers:
            copy = _items(holder) if len(holder) <= most else len(holder)
            self._containers[id(holder)] = [holder, None, copy, text, where]

    def growing(self, holder: Any, text: str, where: str) -> None:
        """Something was added to a list or set."""
        self._growing.setdefault(id(holder), [holder, len(holder), None, text, where])

    def source(
        self, read: Callable[..., Any], holder: Any, text: str, where: str, guards: bool = False
    ) -> None:
        """A state was there that only ``read`` can tell; ``guards``: replays depend on it."""
        self._sources.setdefault(id(holder), [holder, read, read(holder), text, where, guards])

    # Looking again -----------------------------------------------------------------------------

    def changes(self) -> Iterator[str]:
        """Say what is not as it was when it was read: in a run, the run itself has changed it."""
        for holder, name, value, text, where in self._attributes.values():
            now = getattr(holder, name, MISSING)
            if not same_value(value, now):
                yield described(text, where, value, now)
        for holder, key, value, text, where in self._entries.values():
            if not same_value(value, holder.get(key)):
                yield described(text, where, value, holder.get(key))
        for holder, _, copy, *where in self._containers.values():
            if not _unchanged(holder, copy, same_value):
                yield "{1}: {0} has other items".format(*where)
        for holder, read, value, *where, _ in self._sources.values():
            if read(holder) != value:
                yield "{1}: {0} has another state".format(*where)
        for holder, count, _, *where in self._growing.values():
            added = list(holder)[count:] if isinstance(holder, list) else list(holder)
            if any(hasattr(type(item), "__dlpack__") for item in added):
                yield "{1}: {0} has more tensors".format(*where)

    def guard(self) -> Callable[[], bool] | None:
        """Return a function that tells whether all is as it was; short, if nothing was assigned."""
        holders, names, values = _columns(self._attributes)
        dicts, keys, entries = _columns(self._entries)
        containers, _, copies = _columns(self._containers)
        sources = [row for row in self._sources.values() if row[-1]]
        missing = [MISSING] * len(holders)

        def holds() -> bool:
            if not all(map(is_, map(getattr, holders, names, missing), values)):
                now = list(map(getattr, holders, names, missing))
                if not all(map(same_value, values, now)):
                    return False
                values[:] = now
            if not all(map(is_, map(dict.get, dicts, keys), entries)):
                now = list(map(dict.get, dicts, keys))
                if not all(map(same_value, entries, now)):
                    return False
                entries[:] = now
            for holder, copy in zip(containers, copies, strict=True) if containers else ():
                if not _unchanged(holder, copy, is_) and not _unchanged(holder, copy, same_value):
                    return False
            return not sources or all(row[1](row[0]) == row[2] for row in sources)

        return holds if holders or dicts or containers or sources else None


def _columns(rows: dict[Any, list[Any]]) -> tuple[list[Any], list[Any], list[Any]]:
    kept = [row[:3] for row in rows.values()]
    first, second, third = zip(*kept, strict=True) if kept else ((), (), ())
    return list(first), list(second), list(third)


def _items(holder: Any) -> list[Any]:
    return [*holder, *holder.values()] if isinstance(holder, dict) else list(holder)


def _unchanged(holder: Any, copy: Any, equal: Callable[[Any, Any], bool]) -> bool:
    if isinstance(copy, int):
        return len(holder) == copy
    now = _items(holder)
    return len(now) == len(copy) and all(map(equal, now, copy))


def described(text: str, where: str, then: Any, now: Any) -> str:
    """Say that something was this and is that.

    Examples
    --------
    >>> described("beta", "program.py:3", 0.5, 0.75)
    'program.py:3: beta was 0.5 and is 0.75'
    """
    if is_plain(now) or is_plain(then) or then is MISSING or now is MISSING:
        return f"{where}: {text} was {_short(then)} and is {_short(now)}"
    return f"{where}: {text} is another {type(now).__name__}"


def _short(value: Any) -> str:
    plain = is_plain(value) or value is MISSING
    return repr(value)[:40] if plain else f"a {type(value).__name__}"
