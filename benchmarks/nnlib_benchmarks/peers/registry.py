"""The peers, and the check that they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from nnlib.errors import OptionError, missing_extra

PACKAGES = {
    "torch": "torch",
    "torch-compile": "torch",
    "jax": "jax",
    "torch-cuda": "torch",
    "torch-compile-cuda": "torch",
    "jax-cuda": "jax",
    "sklearn": "sklearn",
}
"""Name of a peer → the package that it needs."""

MODULES = {
    "torch": "nnlib_benchmarks.peers.torch_process",
    "torch-compile": "nnlib_benchmarks.peers.torch_process",
    "jax": "nnlib_benchmarks.peers.jax_process",
    "torch-cuda": "nnlib_benchmarks.peers.torch_process",
    "torch-compile-cuda": "nnlib_benchmarks.peers.torch_process",
    "jax-cuda": "nnlib_benchmarks.peers.jax_process",
    "sklearn": "nnlib_benchmarks.peers.sklearn_process",
    "numpy": "nnlib_benchmarks.peers.nnlib_process",
    "numpy-eager": "nnlib_benchmarks.peers.nnlib_process",
}
"""Name of who can be measured in a process of its own → the module that is run there."""


def check_peers(names: Sequence[str]) -> None:
    """Check before measuring that every requested peer is installed.

    Raises
    ------
    OptionError
        If there is no such peer.
    MissingExtraError
        If its package is not installed.
    """
    for name in names:
        if name not in PACKAGES:
            raise OptionError(
                f"a peer must be one of {', '.join(map(repr, PACKAGES))}. Received: {name!r}"
            )
        if importlib.util.find_spec(PACKAGES[name]) is None:
            need = f"the peer {name!r} needs the package {PACKAGES[name]!r}"
            raise missing_extra(need, "peers")
