"""From whatever holds the data to batches of tensors where the model is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from nnlib.autograd import Tensor, tensor
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import DataError, describe
from nnlib.nn import Module
from nnlib_backends import Backend, get_backend, load_backend, use_backend
from nnlib_backends.dtypes import is_floating

__all__ = ["Batch", "Data", "as_loader", "batches", "home_of"]

Batch: TypeAlias = tuple[Tensor, ...]
Data: TypeAlias = Any
"""A `DataLoader`, a dataset, a tuple of arrays, or any iterable of batches."""


def home_of(model: Module) -> tuple[Backend, Any]:
    """Return the backend of a model and the dtype of its parameters (``None`` if it has none)."""
    dtype = None
    backend = None
    for value in (*model.parameters(), *model.buffers()):
        backend = backend or value.backend
        if is_floating(value.dtype):
            return value.backend, value.dtype
    return backend or get_backend(), dtype


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


def batches(
    loader: Iterable[Any], backend: Backend, dtype: Any, skip: int = 0, *, on_host: bool = False
) -> Iterator[Batch]:
    """Begin an epoch: its batches, moved to ``backend``, their floats converted to ``dtype``.

    Parameters
    ----------
    skip : int
        Leave out that many batches at first: for a loader that cannot start in mid-epoch itself.
    on_host : bool
        Do not move what is on the host: a compiled step brings it to the device itself, while the
        step before is still computed.

    Raises
    ------
    DataError
        If there is no batch, or one is not a tuple of arrays.
    """
    home = load_backend("numpy") if on_host and _lies_on_host(loader) else backend
    with use_backend(home):  # where a loader without a backend of its own puts its tensors
        iterator = iter(loader)
    return _moving(iterator, backend, dtype, skip, on_host)


def _lies_on_host(loader: Iterable[Any]) -> bool:
    """Tell whether a loader would put on a device what it has on the host."""
    data = getattr(loader, "dataset", None)
    return not isinstance(data, ArrayDataset) or data.backend.host_memory


def _moving(
    iterator: Iterator[Any], backend: Backend, dtype: Any, skip: int, on_host: bool
) -> Iterator[Batch]:
    number = 0
    for number, arrays in enumerate(iterator, 1):
        if number > skip:
            yield _moved(arrays, backend, dtype, on_host)
    if number == 0:
        raise DataError(
            "an epoch must have at least one batch. Received: a loader that gave none. "
            "A generator can be gone through only once; use a list or a DataLoader"
        )


def _moved(arrays: Any, backend: Backend, dtype: Any, on_host: bool) -> Batch:
    if hasattr(arrays, "shape"):
        arrays = (arrays,)
    if not isinstance(arrays, tuple | list) or not all(hasattr(a, "shape") for a in arrays):
        raise DataError(
            f"a batch must be a tuple of arrays or tensors, (x, y). Received: {_kinds(arrays)}. "
            "Single examples become batches in a nnlib.data.DataLoader"
        )
    if not all(len(array.shape) for array in arrays):
        raise DataError(
            "the arrays of a batch must have the examples along their first axis. "
            f"Received: {describe(*arrays)}. Single examples become batches in a "
            "nnlib.data.DataLoader"
        )
    return tuple(_move(array, backend, dtype, on_host) for array in arrays)


def _kinds(value: Any) -> str:
    kind = type(value).__name__
    if not isinstance(value, tuple | list):
        return kind
    return f"{kind} of {', '.join(type(item).__name__ for item in value)}"


def _move(array: Any, backend: Backend, dtype: Any, on_host: bool) -> Tensor:
    host = load_backend("numpy")
    if isinstance(array, Tensor):
        value = array
    else:
        value = tensor(array, backend=host if on_host and host.owns(array) else None)
    if dtype is not None and is_floating(value.dtype) and value.dtype != dtype:
        value = value.astype(dtype)  # float64 data must not make a float32 model slow
    stays = value.backend is backend or (on_host and value.backend is host)
    return value if stays else tensor(value, backend=backend)


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
