"""The pip command that installs an extra of nnlib, for error messages."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["install_command"]

DISTRIBUTION = "nnlib-xp"
CHECKOUT = Path(__file__).resolve().parents[2]


@cache
def install_command(extra: str) -> str:
    """Return the pip command that installs an extra from the source that nnlib was installed from.

    Parameters
    ----------
    extra : str
        One of those in ``pyproject.toml``, such as ``"plot"``.

    Examples
    --------
    >>> command = install_command("plot")
    >>> command.startswith("pip install "), "[plot]" in command
    (True, True)
    """
    if _is_checkout(CHECKOUT):
        return _pip(f"{CHECKOUT}[{extra}]", editable=True)
    origin = _origin()
    url = str(origin.get("url", ""))
    if "dir_info" in origin:
        return _pip(f"{unquote(urlsplit(url).path)}[{extra}]", bool(_get(origin, "editable")))
    if "vcs_info" in origin:
        url = f"{_get(origin, 'vcs')}+{url}@{_get(origin, 'commit_id')}"
    return _pip(f"{DISTRIBUTION}[{extra}] @ {url}" if url else f"{DISTRIBUTION}[{extra}]")


def _pip(what: str, editable: bool = False) -> str:
    return f"pip install {'-e ' * editable}{shlex.quote(what)}"


def _is_checkout(folder: Path) -> bool:
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return f'name = "{DISTRIBUTION}"' in text


def _origin() -> dict[str, Any]:
    """Return the package's ``direct_url.json`` (PEP 610); empty if it came from an index."""
    from importlib.metadata import PackageNotFoundError, distribution  # takes milliseconds

    try:
        found = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _get(origin: dict[str, Any], name: str) -> Any:
    details = origin.get("dir_info", origin.get("vcs_info"))
    return details.get(name) if isinstance(details, dict) else None
