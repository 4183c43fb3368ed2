"""Optional libraries, and why one of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.cupy_backend.probe import described

__all__ = ["attempt", "driver_version"]


def attempt(load: Callable[[], Any]) -> tuple[Any, str]:
    """Return a function's result and an empty string, or ``None`` and the error, of any type.

    Examples
    --------
    >>> attempt(lambda: 1)
    (1, '')
    >>> attempt(lambda: [].missing)
    (None, "AttributeError: 'list' object has no attribute 'missing'")
    """
    try:
        return load(), ""
    except Exception as error:  # noqa: BLE001 - a library can raise anything
        return None, described(error)


def driver_version() -> str:
    """Return the version of NVIDIA's driver, such as '580.65.06', from NVML."""
    import pynvml

    pynvml.nvmlInit()
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
    finally:
        pynvml.nvmlShutdown()
    return version.decode() if isinstance(version, bytes) else str(version)
