"""What can go wrong around a benchmark run, beside the errors of nnlib itself."""

from __future__ import annotations

from nnlib.errors import FileFormatError, NnlibError


class SchemaError(FileFormatError):
    """A file is not the JSON of a benchmark run, or of a version that this nnlib cannot read."""


class DifferentMachinesError(NnlibError, ValueError):
    """Two runs come from different machines, so that their times say nothing about the code."""


class PeerError(NnlibError, RuntimeError):
    """The process of another library stopped before it had answered, or reported an error."""


class UnsuitablePeerError(PeerError):
    """Another library cannot express a workload; the text says why."""
