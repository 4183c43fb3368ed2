"""The records of a benchmark run: one frozen dataclass for each table of the JSON file.

Times are seconds, memory is bytes, rates are floating-point operations a second, unless a field's
name says otherwise.  `nnlib_benchmarks.schema` turns these classes into JSON and back.
"""

from nnlib_benchmarks.records.comparisons import (
    Agreement,
    Claim,
    Crossover,
    Operation,
    Projection,
    Speedup,
    Training,
)
from nnlib_benchmarks.records.measurements import Breakdown, Energy, Target, Timing, TrainingResult
from nnlib_benchmarks.records.participants import Blas, Contestant, Machine, Missing, Peak
from nnlib_benchmarks.records.run import Run, Settings

__all__ = [
    "READABLE",
    "SCHEMA",
    "VERSION",
    "Agreement",
    "Blas",
    "Breakdown",
    "Claim",
    "Contestant",
    "Crossover",
    "Energy",
    "Machine",
    "Missing",
    "Operation",
    "Peak",
    "Projection",
    "Run",
    "Settings",
    "Speedup",
    "Target",
    "Timing",
    "Training",
    "TrainingResult",
]

SCHEMA = "nnlib-bench"  #: the value of the field ``schema`` in every file
VERSION = 2  #: raised when a field changes its meaning or disappears
READABLE = (1, 2)  #: versions that can be read; fields that one of them lacks have a default
