"""The data set of arrays: row ``i`` of each is sample ``i``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlib.autograd import Tensor
from nnlib.errors import BackendMismatchError, DataError, DTypeError, ShapeError, describe
from nnlib_backends import Backend, backend_of, load_backend
from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_floating
from nnlib_backends.interop import from_library

__all__ = ["ArrayDataset"]


class ArrayDataset:
    """Arrays of equal length: row ``i`` of each belongs to sample ``i``.

    Parameters
    ----------
    *arrays : array or Tensor
        NumPy or CuPy arrays, all on one backend, usually inputs and targets.  They are neither
        copied nor converted.  Arrays of other libraries, such as PyTorch's tensors, become NumPy
        arrays, which share their memory if it is the host's.
    classes : sequence of str, optional
        Names of the classes 0, 1, …

    Attributes
    ----------
    arrays : tuple of array
    classes : tuple of str
    backend : Backend
        Of the arrays.

    Raises
    ------
    DataError
        Without any array.
    DTypeError
        If something is not an array, or holds neither numbers nor booleans.
    ShapeError
        If the lengths differ.
    BackendMismatchError
        If the arrays live on different backends.

    Examples
    --------
    >>> import numpy as np
    >>> data = ArrayDataset(np.zeros((4, 2), np.float32), np.array([0, 1, 1, 0]))
    >>> data
    ArrayDataset(4 × [float32 (2,), int64 ()])
    >>> x, y = data[1:3]
    >>> y
    array([1, 1])
    """

    def __init__(self, *arrays: Array | Tensor, classes: Sequence[str] = ()) -> None:
        if not arrays:
            raise DataError("a dataset must have at least one array. Received: none")
        self.arrays = tuple(_bare_array(array) for array in arrays)
        self.classes = tuple(classes)
        lengths = {array.shape[0] for array in self.arrays}
        if len(lengths) > 1:
            raise ShapeError(
                "the arrays of a dataset must have the same length (first axis). "
                f"Received: {describe(*self.arrays)}"
            )
        backends = {backend_of(array).name: backend_of(array) for array in self.arrays}
        if len(backends) > 1:
            raise BackendMismatchError(
                "the arrays of a dataset must live on one backend. "
                f"Received: {', '.join(backends)}. Move them first, e.g. with tensor.to('numpy')"
            )
        (self.backend,) = backends.values()

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])

    def __getitem__(self, index: Any) -> tuple[Array, ...]:
        """Rows of every array: an integer, a slice, or an array of integers or booleans."""
        array_type: Any = self.backend.array_type
        if isinstance(index, array_type) and index.dtype.kind in "iu":
            # take: a fresh, contiguous batch, and faster than array[index]
            return tuple([array.take(index, axis=0) for array in self.arrays])
        if isinstance(index, tuple):
            raise DataError(
                "a dataset must be indexed by one integer, slice or array (of examples). "
                f"Received: {index!r}. Index its .arrays to go deeper"
            )
        if isinstance(index, int | np.integer | slice):
            return tuple(array[index] for array in self.arrays)
        index = index if isinstance(index, Tensor) else from_library(index)
        if isinstance(index, list | np.ndarray):
            host = np.asarray(index, dtype=None if len(index) else np.int64)
            index = self.backend.asarray(host)
        if index.dtype.kind == "b":
            return tuple(array[index] for array in self.arrays)
        return tuple(self.backend.xp.take(array, index, axis=0) for array in self.arrays)

    def to(self, backend: Backend | str) -> ArrayDataset:
        """Return this dataset with its arrays on another backend (itself if they are there).

        Raises
        ------
        BackendUnavailableError
            If the backend cannot be used here.

        Examples
        --------
        >>> import numpy as np
        >>> ArrayDataset(np.zeros((4, 2))).to("numpy").backend.name
        'numpy'
        """
        target = load_backend(backend)
        if target is self.backend:
            return self
        return ArrayDataset(*map(target.asarray, self.arrays), classes=self.classes)

    def __repr__(self) -> str:
        rows = ", ".join(f"{a.dtype} {tuple(a.shape[1:])}" for a in self.arrays)
        return f"ArrayDataset({len(self)} × [{rows}])"


def _bare_array(value: Any) -> Array:
    """Check one argument of `ArrayDataset`; a tensor gives its array."""
    try:
        array = value.data if isinstance(value, Tensor) else from_library(value)
    except BackendMismatchError as error:
        raise DTypeError(f"a dataset must be made of arrays. {error}") from error
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        raise DTypeError(
            "a dataset must be made of NumPy or CuPy arrays or tensors. "
            f"Received: {type(value).__name__}. Convert it: np.asarray(..., dtype=np.float32)"
        )
    if array.dtype.kind not in "biu" and not is_floating(array.dtype):
        raise DTypeError(
            "the arrays of a dataset must hold numbers or booleans. "
            f"Received: {describe(array)}. Encode texts and objects as numbers first"
        )
    if not array.shape:
        raise ShapeError(
            f"the arrays of a dataset must have at least one axis. Received: {describe(array)}"
        )
    return array
