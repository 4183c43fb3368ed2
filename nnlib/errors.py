"""The exceptions of nnlib.

::

    NnlibError (Exception)
    ├── BackendError (RuntimeError)             nnlib_backends.errors
    │   ├── UnknownBackendError (ValueError)
    │   ├── BackendMismatchError (TypeError)
    │   └── BackendUnavailableError
    ├── ShapeError (ValueError)                 shapes that do not fit
    ├── DTypeError (TypeError)                  a dtype or type of argument that cannot be used
    ├── OptionError (ValueError)                an argument outside its range
    ├── ArgumentError (TypeError)               arguments that a function does not take
    ├── IndexingError (IndexError)              an index out of bounds or of a wrong type
    ├── LabelError (ValueError)                 class labels out of range
    ├── GradientError (RuntimeError)            no gradient can be computed
    │   └── GradcheckError (AssertionError)     a derivative is wrong
    ├── CaptureError (RuntimeError)             nnlib_backends.errors: cannot be traced
    ├── OutOfMemoryError (MemoryError)          a device's memory is full
    ├── StateError (ValueError)                 names or shapes of a state dict do not match
    ├── NonFiniteError (ArithmeticError)        NaN or infinity during training
    ├── InputError (OSError)                    a file cannot be read
    │   └── InputNotFoundError (FileNotFoundError)
    ├── FileFormatError (ValueError)            a file is damaged or of another kind
    ├── DataError (ValueError)                  data sets and loaders
    │   └── DataNotFoundError (FileNotFoundError)
    ├── OutputError (OSError)                   a file or folder cannot be written
    └── MissingExtraError (ImportError)         an optional package is not installed

Each is also a subclass of the builtin that a NumPy user would catch.  `CaptureWarning` means that a
compiled function runs uncompiled from now on.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from nnlib_backends.errors import (
    BackendError,
    BackendMismatchError,
    BackendUnavailableError,
    CaptureError,
    NnlibError,
    UnknownBackendError,
)
from nnlib_backends.installing import install_command

__all__ = [
    "ArgumentError",
    "BackendError",
    "BackendMismatchError",
    "BackendUnavailableError",
    "CaptureError",
    "CaptureWarning",
    "DTypeError",
    "DataError",
    "DataNotFoundError",
    "FileFormatError",
    "GradcheckError",
    "GradientError",
    "IndexingError",
    "InputError",
    "InputNotFoundError",
    "LabelError",
    "MissingExtraError",
    "NnlibError",
    "NonFiniteError",
    "OptionError",
    "OutOfMemoryError",
    "OutputError",
    "ShapeError",
    "StateError",
    "UnknownBackendError",
    "describe",
    "did_you_mean",
    "install_command",
    "missing_extra",
]


class CaptureWarning(UserWarning):
    """A compiled function cannot be replayed, and runs uncompiled from now on."""


class ShapeError(NnlibError, ValueError):
    """Shapes do not fit together."""


class DTypeError(NnlibError, TypeError):
    """A dtype or type of argument cannot be used here."""


class OptionError(NnlibError, ValueError):
    """An argument is outside its range."""


class ArgumentError(NnlibError, TypeError):
    """A call does not fit a function's arguments: an unknown keyword, too many, too few."""


class IndexingError(NnlibError, IndexError):
    """An index is out of bounds or of a wrong type."""


class LabelError(NnlibError, ValueError):
    """Class labels are out of range or of a wrong dtype."""


class GradientError(NnlibError, RuntimeError):
    """A gradient cannot be computed or changed in this way."""


class GradcheckError(GradientError, AssertionError):
    """An analytic derivative disagrees with finite differences."""


class OutOfMemoryError(NnlibError, MemoryError):
    """A device's memory is full; the text says what uses it."""


class StateError(NnlibError, ValueError):
    """The names or shapes of a state dict do not match."""


class NonFiniteError(NnlibError, ArithmeticError):
    """NaN or infinity appeared during training."""


class FileFormatError(NnlibError, ValueError):
    """A file is damaged, or not of the expected kind."""


class InputError(NnlibError, OSError):
    """A file cannot be read: no permission, a folder, a broken disk."""


class InputNotFoundError(InputError, FileNotFoundError):
    """A file to read does not exist."""


class DataError(NnlibError, ValueError):
    """A data set or loader cannot be used."""


class DataNotFoundError(DataError, FileNotFoundError):
    """The files of a data set do not exist."""


class OutputError(NnlibError, OSError):
    """A file or folder cannot be written."""


class MissingExtraError(NnlibError, ImportError):
    """An optional package is not installed; the text gives the pip command."""


def missing_extra(need: str, extra: str) -> MissingExtraError:
    """Return the error for a missing package, with the command that installs it.

    Parameters
    ----------
    need : str
        Beginning of the text, such as ``"plot needs matplotlib"``.
    extra : str
        The extra of ``pyproject.toml`` with the package.

    Examples
    --------
    >>> print(missing_extra("plot needs matplotlib", "plot"))  # doctest: +ELLIPSIS
    plot needs matplotlib, which is not installed. To fix it: pip install ...
    """
    return MissingExtraError(f"{need}, which is not installed. To fix it: {install_command(extra)}")


def describe(*values: Any) -> str:
    """Describe values for an error: dtype and shape of arrays, else the value.

    Examples
    --------
    >>> import numpy as np
    >>> describe(np.zeros((2, 3), np.float32), 5)
    'float32 (2, 3), 5'
    """
    return ", ".join(
        f"{value.dtype} {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
        for value in values
    )


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return a hint to append to an error about an unknown name; empty if none is similar.

    Examples
    --------
    >>> did_you_mean("adm", ["sgd", "adam"])
    " Did you mean 'adam'?"
    """
    guess = get_close_matches(str(name), known, n=1)
    return f" Did you mean {guess[0]!r}?" if guess else ""
