"""Libraries that the backend can do without, and why one of them cannot be used here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.cupy_backend.probe import described

__all__ = ["attempt", "driver_version"]


def attempt(load: Callable[[], Any]) -> tuple[Any, str]:
    """Return what a function returns and an empty string, or ``None`` and why it failed.

    A library that does not fit its neighbours raises whatever it likes when it is imported.

    Examples
    --------
    >>> attempt(lambda: 1)
    (1, '')
    >>> attempt(lambda: [].missing)
    (None, "AttributeError: 'list' object has no attribute 'missing'")
    """
    try:
        return load(), ""
    except Exception as error:  # noqa: BLE001 - the user is told
        return None, described(error)


def driver_version() -> str:
    """Return the version of NVIDIA's driver ('580.65.06'), which only NVML tells."""
    import pynvml

    pynvml.nvmlInit()
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
    finally:
        pynvml.nvmlShutdown()
    return version.decode() if isinstance(version, bytes) else str(version)
