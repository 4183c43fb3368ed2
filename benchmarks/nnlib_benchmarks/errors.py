"""Errors of the harness."""

from __future__ import annotations

from nnlib.errors import FileFormatError, NnlibError


class SchemaError(FileFormatError):
    """A file is not the JSON of a benchmark run, or of an unknown version."""


class DifferentMachinesError(NnlibError, ValueError):
    """Two runs come from different machines, so that their times do not compare the code."""


class PeerError(NnlibError, RuntimeError):
    """The process of another library ended before its answer, or reported an error."""


class UnsuitablePeerError(PeerError):
    """Another library cannot express a workload; the text is the reason."""
