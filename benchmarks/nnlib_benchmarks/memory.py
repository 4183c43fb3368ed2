"""Peak memory of a piece of work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


class PeakMemory:
    """Measures the peak between its creation, or `forget`, and `bytes`, on the host or on a GPU.

    On the host it is the resident memory of this process.  On Linux the earlier peak is reset
    (by writing 5 to ``/proc/self/clear_refs``, see proc(5)), so that one workload does not report
    the peak of another; elsewhere the peak counts from the start of the process.

    Parameters
    ----------
    backend : Backend
        The backend of the work.
    kind : str
        ``"cpu"`` or ``"gpu"``.

    Examples
    --------
    >>> import nnlib
    >>> with nnlib.use_backend("numpy") as backend:
    ...     memory = PeakMemory(backend, "cpu")
    >>> memory.bytes() >= memory.before > 0
    True
    """

    def __init__(self, backend: Any, kind: str) -> None:
        self._backend = backend
        self._on_host = kind == "cpu"
        self.forget()
        self.before: int = self._read().used

    def forget(self) -> None:
        """Reset the peak, if the system can."""
        if self._on_host:
            reset_host_peak()
        else:
            self._backend.reset_peak_memory()

    def bytes(self) -> int:
        """Return the peak so far."""
        if self._on_host:
            peak = host_peak()
            if peak is not None:
                return peak
        return int(self._read().peak)

    def _read(self) -> Any:
        return self._backend.memory_info()


def reset_host_peak() -> bool:
    """Reset this process's peak memory; ``False`` if the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def host_peak() -> int | None:
    """Peak resident memory of this process in bytes, or ``None`` without /proc."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf8")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
