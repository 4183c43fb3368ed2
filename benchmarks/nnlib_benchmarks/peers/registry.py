"""Which peers there are, and whether they can take part."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from nnlib.errors import MissingExtraError, OptionError

MODULES = {"torch": "nnlib_benchmarks.peers.torch_process"}
"""Name of a peer (also of the package that it needs) → the module that is run."""


def check_peers(names: Sequence[str]) -> None:
    """Make sure that every peer asked for can take part, before anything is measured.

    Raises
    ------
    OptionError
        If there is no such peer.
    MissingExtraError
        If its package is not installed.
    """
    for name in names:
        if name not in MODULES:
            raise OptionError(
                f"a peer must be one of {', '.join(map(repr, MODULES))}. Received: {name!r}"
            )
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(
                f"the peer {name!r} needs the package {name!r}, which is not installed. "
                "Install it: pip install 'nnlib-xp[peers]'"
            )
