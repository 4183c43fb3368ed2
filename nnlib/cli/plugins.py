"""Commands of other packages: entry points of the group ``nnlib.commands``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nnlib.errors import MissingExtraError, NnlibError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["commands", "load_command"]

GROUP = "nnlib.commands"
_CHECKOUT = Path(__file__).parents[2] / "pyproject.toml"


@cache
def commands() -> dict[str, EntryPoint]:
    """Return the entry points by the name of the command.

    They are those of installed packages.  In a checkout those of its ``pyproject.toml`` come
    first: it may be not installed, or they may have changed since.
    """
    from importlib.metadata import entry_points  # slow to import, seldom needed

    points = [*_of_checkout(_CHECKOUT), *entry_points(group=GROUP)]
    return {point.name: point for point in reversed(points)}


def _of_checkout(path: Path) -> list[EntryPoint]:
    import tomllib
    from importlib.metadata import EntryPoint

    if not path.is_file():
        return []
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    if project.get("name") != "nnlib-xp":  # another program has nnlib among its own files
        return []
    named = project.get("entry-points", {}).get(GROUP, {})
    return [EntryPoint(name, value, GROUP) for name, value in named.items()]


def load_command(point: EntryPoint) -> click.Command:
    """Return the command of an entry point.

    For one that cannot be loaded it is a command that shows the error, so that the other commands
    still work.
    """
    try:
        command = point.load()
        if not isinstance(command, click.Command):
            raise TypeError(f"a click command is needed. Received: {command!r:.200}")
    except Exception as error:  # noqa: BLE001 - whatever another package raises when imported
        return _Broken(point, error)
    return command


class _Broken(click.Command):
    """A command that cannot be loaded: running it raises the error."""

    def __init__(self, point: EntryPoint, error: Exception) -> None:
        super().__init__(point.name, short_help=f"(cannot be loaded: {error!r})")
        self.point, self.error = point, error

    def make_context(self, *args: Any, **options: Any) -> NoReturn:
        kind = MissingExtraError if isinstance(self.error, ImportError) else NnlibError
        raise kind(
            f"the command {self.point.name!r} is {self.point.value}, which must be a click command "
            f"that can be imported. Received: {self.error!r}. Install or update that package"
        ) from self.error
