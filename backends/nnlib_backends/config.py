"""Every environment variable that nnlib reads; each is read when it is first needed."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = [
    "BACKEND",
    "CUBLASLT_AUTOTUNE",
    "CUDNN_AUTOTUNE",
    "CUDNN_DETERMINISTIC",
    "DATA",
    "DEBUG",
    "NATIVE",
    "NUM_THREADS",
    "SETTINGS",
    "WINOGRAD",
    "Setting",
]


@dataclass(frozen=True)
class Setting:
    """An environment variable.

    Attributes
    ----------
    name : str
        With its prefix ``NNLIB_``.
    meaning : str
        Its effect, and the default.

    Examples
    --------
    >>> Setting("NNLIB_EXAMPLE", "nothing").get()
    ''
    """

    name: str
    meaning: str

    def get(self) -> str:
        """Return the variable's value; empty if it is not set."""
        return os.environ.get(self.name, "")


BACKEND = Setting("NNLIB_BACKEND", "where new arrays go: numpy (the default), cupy, cupy:N, auto")
DATA = Setting("NNLIB_DATA", "the folder of data sets; the user's cache if not set")
DEBUG = Setting("NNLIB_DEBUG", "1: the command line shows tracebacks of errors")
NUM_THREADS = Setting("NNLIB_NUM_THREADS", "threads of CPU kernels; all usable cores if not set")
NATIVE = Setting("NNLIB_NATIVE", "0: no compiled CPU kernels")
WINOGRAD = Setting("NNLIB_WINOGRAD", "0: 3×3 convolutions on the CPU without Winograd's method")
CUBLASLT_AUTOTUNE = Setting("NNLIB_CUBLASLT_AUTOTUNE", "0: cuBLASLt's first algorithm, untimed")
CUDNN_AUTOTUNE = Setting("NNLIB_CUDNN_AUTOTUNE", "1: cuDNN's plans are timed, the fastest is kept")
CUDNN_DETERMINISTIC = Setting(
    "NNLIB_CUDNN_DETERMINISTIC", "0: cuDNN may add in an order that changes from run to run"
)

SETTINGS = (
    BACKEND, DATA, DEBUG, NUM_THREADS, NATIVE, WINOGRAD,
    CUBLASLT_AUTOTUNE, CUDNN_AUTOTUNE, CUDNN_DETERMINISTIC,
)  # fmt: skip
