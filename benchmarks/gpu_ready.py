"""Check the requirements of a GPU measurement besides CuPy: exit code 3 if one is missing."""

from __future__ import annotations

import sys
from importlib import metadata

import nnlib
from nnlib.errors import BackendError

PACKAGE = "nvmath-python"  # its version requirements are the most frequent problem


def problems() -> list[str]:
    """Describe missing packages and wrong versions."""
    try:
        info = nnlib.backend_info("cupy")
    except BackendError as error:
        return [str(error)]
    found = [f"{package}: {reason}" for package, reason in info["missing"].items()]
    if info["remedy"]:
        found.append(f"To fix it: {info['remedy']}")
    return [*found, *unmet(PACKAGE)]


def unmet(package: str) -> list[str]:
    """List the unmet requirements of an installed package.

    Examples
    --------
    >>> unmet("no-such-package"), unmet("pytest")
    ([], [])
    """
    from packaging.requirements import Requirement

    try:
        requirements = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            version = installed(requirement.name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                found.append(f"{package} needs {requirement}. Received: {version or 'none'}")
    return found


def installed(package: str) -> str | None:
    """Return the version of an installed package.

    Examples
    --------
    >>> installed("no-such-package") is None
    True
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def main() -> int:
    """Print the problems."""
    lines = problems()
    print("\n".join(lines or ["all that the figures need is there"]))
    return 3 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
