"""Guards on the Python values that a traced function read; they are checked before each replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import is_
from typing import Any

from nnlib_backends.common.trace import is_plain, same_value

__all__ = ["MISSING", "ValueGuards", "describe_change"]

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()


class ValueGuards:
    """The Python values that a function read, each with its value at the first read.

    Attributes
    ----------
    refused : str
        Why the function cannot be guarded; empty if it can.
    """

    def __init__(self) -> None:
        self.refused = ""
        self._attributes: dict[tuple[int, str], list[Any]] = {}
        self._entries: dict[tuple[int, Any], list[Any]] = {}
        self._containers: dict[int, list[Any]] = {}
        self._growing: dict[int, list[Any]] = {}
        self._snapshots: dict[int, list[Any]] = {}

    # Adding guards -----------------------------------------------------------------------------

    def refuse(self, what: str) -> None:
        """Note a read that cannot be guarded; the first one is reported."""
        self.refused = self.refused or what

    def attribute(self, holder: Any, name: str, value: Any, text: str, where: str) -> None:
        """Guard an attribute."""
        self._attributes.setdefault((id(holder), name), [holder, name, value, text, where])

    def item(self, holder: dict[Any, Any], key: Any, text: str, where: str) -> None:
        """Guard an item of a dict."""
        if (id(holder), key) not in self._entries:
            self._entries[id(holder), key] = [holder, key, holder.get(key), text, where]

    def items(self, holder: Any, text: str, where: str, most: int) -> None:
        """Guard all items of a list, set or dict; beyond ``most`` items, only its length."""
        if id(holder) not in self._containers:
            copy = _items(holder) if len(holder) <= most else len(holder)
            self._containers[id(holder)] = [holder, None, copy, text, where]

    def growing(self, holder: Any, text: str, where: str) -> None:
        """Note a list or set to which the function adds items."""
        self._growing.setdefault(id(holder), [holder, len(holder), None, text, where])

    def snapshot(
        self, read: Callable[..., Any], holder: Any, text: str, where: str, guard: bool = False
    ) -> None:
        """Store the state ``read(holder)``; with ``guard``, each replay compares it."""
        self._snapshots.setdefault(id(holder), [holder, read, read(holder), text, where, guard])

    # Checking guards ---------------------------------------------------------------------------

    def changes(self) -> Iterator[str]:
        """Describe the values that have changed since they were read, after the traced run."""
        for holder, name, value, text, where in self._attributes.values():
            now = getattr(holder, name, MISSING)
            if not same_value(value, now):
                yield describe_change(text, where, value, now)
        for holder, key, value, text, where in self._entries.values():
            if not same_value(value, holder.get(key)):
                yield describe_change(text, where, value, holder.get(key))
        for holder, _, copy, *where in self._containers.values():
            if not _unchanged(holder, copy, same_value):
                yield "{1}: {0} has other items".format(*where)
        for holder, read, value, *where, _ in self._snapshots.values():
            if read(holder) != value:
                yield "{1}: {0} has another state".format(*where)
        for holder, count, _, *where in self._growing.values():
            added = list(holder)[count:] if isinstance(holder, list) else list(holder)
            if any(hasattr(type(item), "__dlpack__") for item in added):
                yield "{1}: {0} has more tensors".format(*where)

    def guard(self) -> Callable[[], bool] | None:
        """Return a function that checks all guards, by identity first; None if there are none."""
        holders, names, values = _columns(self._attributes)
        dicts, keys, entries = _columns(self._entries)
        containers, _, copies = _columns(self._containers)
        snapshots = [row for row in self._snapshots.values() if row[-1]]
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
            return not snapshots or all(row[1](row[0]) == row[2] for row in snapshots)

        return holds if holders or dicts or containers or snapshots else None


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


def describe_change(text: str, where: str, then: Any, now: Any) -> str:
    """Say what a value was and what it is now.

    Examples
    --------
    >>> describe_change("beta", "program.py:3", 0.5, 0.75)
    'program.py:3: beta was 0.5 and is 0.75'
    """
    if is_plain(now) or is_plain(then) or then is MISSING or now is MISSING:
        return f"{where}: {text} was {_short(then)} and is {_short(now)}"
    return f"{where}: {text} is another {type(now).__name__}"


def _short(value: Any) -> str:
    plain = is_plain(value) or value is MISSING
    return repr(value)[:40] if plain else f"a {type(value).__name__}"
