"""Counts of reads by the host and of copies to the device."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from strict_backend.kernels import refuse_in_capture


@dataclass
class Counts:
    """The counts inside one ``with counting()``, of all threads."""

    reads: int = 0  #: the host waited for a value: float(a), bool(a), .get(), a[mask], …
    transfers: int = 0  #: data was copied from the host
    where: list[str] = field(
        default_factory=list
    )  #: "read" or "transfer", and the line that did it


_active: list[Counts] = []


@contextmanager
def counting() -> Iterator[Counts]:
    counts = Counts()
    _active.append(counts)
    try:
        yield counts
    finally:
        _active[:] = [other for other in _active if other is not counts]


def note_read() -> None:
    refuse_in_capture("D2H")
    for counts in _active:
        counts.reads += 1
        counts.where.append(f"read at {_caller()}")


def note_transfer() -> None:
    refuse_in_capture("H2D")
    for counts in _active:
        counts.transfers += 1
        counts.where.append(f"transfer at {_caller()}")


def _caller() -> str:
    """Return the innermost line outside of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals["__name__"]).startswith(
        __name__.partition(".")[0] + "."
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
