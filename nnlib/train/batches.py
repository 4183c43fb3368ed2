"""Batches of tensors from any kind of data, on the model's backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from nnlib.autograd import Tensor, tensor
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import DataError, describe
from nnlib.nn import Module
from nnlib_backends import Backend, get_backend, load_backend
from nnlib_backends.dtypes import is_floating

__all__ = ["Batch", "Data", "Placement", "as_loader", "batches", "grouped", "split"]

Batch: TypeAlias = tuple[Tensor, ...]
Data: TypeAlias = Any
"""A `DataLoader`, a dataset, a tuple of arrays, or any iterable of batches."""


class Placement:
    """Backend and dtype of the batches of a model.

    Parameters
    ----------
    backend : Backend
        Of the model.
    dtype : dtype or None
        Of its parameters; floats of another width are converted to it.
    from_host : bool
        Leave arrays of the host there: a compiled step copies them to the device, while the
        step before is still running.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib import nn
    >>> x, y = Placement.of(nn.Linear(2, 1)).place((np.zeros((3, 2)), np.zeros(3, int)))
    >>> x.dtype, y.dtype
    (dtype('float32'), dtype('int64'))
    """

    def __init__(self, backend: Backend, dtype: Any, from_host: bool = False) -> None:
        self.backend, self.dtype, self.from_host = backend, dtype, from_host
        self._host = load_backend("numpy")

    @classmethod
    def of(cls, model: Module, *, compiled: bool = False) -> Placement:
        """Return the placement for a model and its compiled or eager steps."""
        values = [*model.parameters(), *model.buffers()]
        floats = [value for value in values if is_floating(value.dtype)]
        first = next(iter(floats or values), None)
        backend = get_backend() if first is None else first.backend
        from_host = compiled and not backend.host_memory and backend.tracer() is not None
        return cls(backend, floats[0].dtype if floats else None, from_host)

    @property
    def eager(self) -> Placement:
        """The placement for eager steps."""
        return Placement(self.backend, self.dtype)

    def place(self, arrays: Any) -> Batch:
        """Check a batch, and move its arrays to the placement.

        Raises
        ------
        DataError
            If it is no tuple of arrays with the samples along their first axis.
        """
        if hasattr(arrays, "shape"):
            arrays = (arrays,)
        if not isinstance(arrays, tuple | list):
            raise _no_batch(arrays)
        return tuple([self._placed(array, arrays) for array in arrays])

    def _placed(self, array: Any, batch: Sequence[Any]) -> Tensor:
        if not getattr(array, "shape", ()):
            raise _no_batch(batch)
        is_tensor = isinstance(array, Tensor)
        data = array.data if is_tensor else array
        backend = self._host if self.from_host and self._host.owns(data) else self.backend
        if not backend.owns(data) or data.dtype.kind not in "biuf":
            value = tensor(array, backend=backend)
        else:
            value = array if is_tensor else Tensor(backend.asarray(data), backend)
        dtype = value.data.dtype
        if self.dtype is None or dtype == self.dtype or not is_floating(dtype):
            return value
        return value.astype(self.dtype)  # float64 data must not make a float32 model slow

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Return the arguments of a step: tensors of the host as bare arrays.

        A compiled function copies arrays to its backend, but refuses tensors of another one.
        """
        if not self.from_host:
            return batch
        return tuple([x.data if x.backend is self._host else x for x in batch])


def _no_batch(batch: Any) -> DataError:
    """Make the error for a wrong batch."""
    hint = "Single examples become batches in a nnlib.data.DataLoader"
    if not isinstance(batch, tuple | list) or not all(hasattr(a, "shape") for a in batch):
        kind = type(batch).__name__
        if isinstance(batch, tuple | list):
            kind = f"{kind} of {', '.join(type(item).__name__ for item in batch)}"
        return DataError(
            f"a batch must be a tuple of arrays or tensors, (x, y). Received: {kind}. {hint}"
        )
    return DataError(
        "the arrays of a batch must have the examples along their first axis. "
        f"Received: {describe(*batch)}. {hint}"
    )


def as_loader(data: Data, batch_size: int, *, shuffle: bool) -> Iterable[Any]:
    """Make a loader of a dataset or arrays; a loader, or another iterable of batches, stays.

    Raises
    ------
    DataError
        If it is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> len(as_loader((np.zeros((10, 3)), np.zeros(10)), batch_size=4, shuffle=False))
    3
    """
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, tuple) and data and all(hasattr(array, "shape") for array in data):
        data = ArrayDataset(*data)
    rows_by_index = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if isinstance(data, ArrayDataset) or (rows_by_index and not hasattr(data, "__iter__")):
        return DataLoader(data, batch_size, shuffle=shuffle)
    is_array = hasattr(data, "shape")
    if not isinstance(data, Iterable) or isinstance(data, Iterator | str | dict) or is_array:
        raise DataError(
            "data must be a DataLoader, a dataset, a tuple of arrays (x, y), or a list of batches "
            f"that can be gone through once an epoch. Received: {type(data).__name__}"
        )
    return data


def batches(loader: Iterable[Any], placement: Placement, skip: int = 0) -> Iterator[Batch]:
    """Begin an epoch: return an iterator over its batches, on the placement.

    Parameters
    ----------
    skip : int
        Leave out the first batches, for a loader that cannot start in mid-epoch.

    Raises
    ------
    DataError
        If there is no batch, or one is not a tuple of arrays.
    """
    if isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__:
        return islice(loader.epoch(placement.place), skip, None)
    return _placed(iter(loader), placement, skip)


def _placed(iterator: Iterator[Any], placement: Placement, skip: int) -> Iterator[Batch]:
    number = 0
    for number, arrays in enumerate(iterator, 1):
        if number > skip:
            yield placement.place(arrays)
    if number == 0:
        raise DataError(
            "an epoch must have at least one batch. Received: a loader that gave none. "
            "A generator can be gone through only once; use a list or a DataLoader"
        )


def split(batch: Batch) -> tuple[Batch, Tensor]:
    """Separate the model's inputs from the target, the last array.

    Raises
    ------
    DataError
        If there is only one array.
    """
    if len(batch) < 2:
        raise DataError(
            "training and evaluation need inputs and targets: batches (x, y). "
            "Received: batches of one array"
        )
    return batch[:-1], batch[-1]


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Batches in groups of ``size``, the last one perhaps smaller; none is fetched ahead.

    Examples
    --------
    >>> list(grouped("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    group = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
