"""Batches of users' data sets, which return rows for many indices or a sample for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nnlib.autograd import Tensor, tensor
from nnlib.errors import BackendMismatchError, DataError, DTypeError, NnlibError, describe
from nnlib.random import default_generator
from nnlib_backends import backend_of, load_backend
from nnlib_backends.base import Array

__all__ = ["gives_examples", "rows_of", "stacked"]

Rows = tuple[Array, ...]


def gives_examples(dataset: Any, index: Array) -> bool:
    """Whether a data set must be indexed by one integer at a time.

    Two samples are read both ways.  If both work but differ, the result for single integers is
    taken as the intended one.

    Parameters
    ----------
    dataset : object with ``__getitem__``
    index : array of int64
        Of at least one sample.

    Raises
    ------
    DataError
        If it returns neither rows nor samples.

    Examples
    --------
    >>> gives_examples([(1.0, 0), (2.0, 1)], np.arange(2))
    True
    """
    pair = np.resize(index, 2)
    state = default_generator.state_dict()  # reading data here must not change the run
    rows = _tried(lambda: rows_of(dataset, pair))
    examples = _tried(lambda: stacked((dataset[i] for i in pair.tolist()), pair))
    default_generator.load_state_dict(state)
    if isinstance(examples, Exception):
        if isinstance(rows, Exception):
            _refuse(dataset, rows, examples)
        return False
    return isinstance(rows, Exception) or not _equal(rows, examples)


def _tried(attempt: Any) -> Rows | Exception:
    try:
        rows: Rows = attempt()
    except Exception as error:  # noqa: BLE001 - any error of unsupported indexing
        return error
    return rows


def _refuse(dataset: Any, rows: Exception, examples: Exception) -> None:
    if isinstance(examples, NnlibError):
        raise examples
    raise DataError(
        "a dataset must give rows for an array of indices, or an example (x, y) for a single "
        f"integer. Received: {type(dataset).__name__}, which raises {rows!r} for an array and "
        f"{examples!r} for an integer"
    ) from examples


def _equal(rows: Rows, examples: Rows) -> bool:
    return len(rows) == len(examples) and all(
        a.shape == b.shape and np.allclose(a.astype("f8"), b.astype("f8"), 1e-6, equal_nan=True)
        for a, b in zip(map(_on_host, rows), examples, strict=True)
    )


def _on_host(value: Any) -> Array:
    return tensor(value, backend="numpy").data


def rows_of(dataset: Any, index: Array) -> Rows:
    """Return the rows of a data set at an array of indices.

    Raises
    ------
    DataError
        If it returns anything else.

    Examples
    --------
    >>> rows_of(np.array([5.0, 6.0, 7.0]), np.array([2, 0]))
    (array([7., 5.]),)
    """
    found = dataset[index]
    rows = found if isinstance(found, tuple | list) else (found,)
    if not rows or any(getattr(row, "shape", ())[:1] != (len(index),) for row in rows):
        raise DataError(
            "a dataset that is asked for an array of indices must return a tuple of arrays with a "
            f"row for each. Received: {describe(*rows):.200} from {type(dataset).__name__} for "
            f"{len(index)} indices. Return as many rows, or take a single integer and return one "
            "example"
        )
    return tuple(row.data if isinstance(row, Tensor) else _known(row) for row in rows)


def _known(row: Any) -> Array:
    """Convert an array of a library without a backend."""
    try:
        backend_of(row)
    except BackendMismatchError:
        return _on_host(row)
    return row


def stacked(examples: Iterable[Any], index: Array) -> Rows:
    """Stack samples, part by part.

    Parameters
    ----------
    examples : iterable of tuples of numbers, arrays, tensors or lists of numbers
        A sample that is no tuple or list has one part.
    index : array of int64
        Their indices, for errors.

    Returns
    -------
    tuple of array
        One row for each sample.  Python floats become float32, Python integers int64.

    Raises
    ------
    DataError
        If samples have other parts, or parts that differ in number or shape.

    Examples
    --------
    >>> stacked([([1.0, 2.0], 0), ([3.0, 4.0], 1)], np.arange(2))
    (array([[1., 2.],
           [3., 4.]], dtype=float32), array([0, 1]))
    """
    numbers = index.tolist()
    parts = [_parts(example, i) for example, i in zip(examples, numbers, strict=True)]
    for one, i in zip(parts, numbers, strict=True):
        if len(one) != len(parts[0]):
            raise DataError(
                "the examples of a dataset must have the same parts. Received: "
                f"{len(parts[0])} in example {numbers[0]} and {len(one)} in example {i}"
            )
    return tuple(
        _column(values, f"part {k}", numbers) for k, values in enumerate(zip(*parts, strict=True))
    )


def _parts(example: Any, i: int) -> Sequence[Any]:
    parts = example if isinstance(example, tuple | list) else (example,)
    if isinstance(example, dict):
        hint = f"a dict of {', '.join(map(repr, example)):.200}. Choose what the model needs"
    elif any(isinstance(p, dict) or (isinstance(p, tuple) and _nested(p)) for p in parts):
        hint = "one in another. Make it flat: (x1, x2, y)"
    elif not parts:
        hint = "none"
    else:
        return parts
    raise DataError(
        "an example of a dataset must be a tuple of numbers and arrays, (x, y). "
        f"Received: {hint} (example {i})"
    )


def _nested(part: tuple[Any, ...]) -> bool:
    return any(hasattr(item, "shape") or isinstance(item, tuple | dict) for item in part)


def _column(values: Sequence[Any], what: str, numbers: Sequence[int]) -> Array:
    if all(isinstance(value, int | float) and not hasattr(value, "dtype") for value in values):
        return _array(values, what, f"examples {numbers[0]} …")
    arrays = [_array(v, what, f"example {i}") for v, i in zip(values, numbers, strict=True)]
    for array, i in zip(arrays, numbers, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{what} of all examples must have one shape to be put together. Received: "
                f"{describe(arrays[0])} in example {numbers[0]} and {describe(array)} in example "
                f"{i}. Fill the shorter ones up, or batch examples of one shape"
            )
    return np.stack(arrays)


def _array(value: Any, what: str, which: str) -> Array:
    try:
        return tensor(value, backend=load_backend("numpy")).data
    except (DTypeError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise DataError(
            f"{what} of an example must be numbers in a regular shape. Received: "
            f"{type(value).__name__} in {which}. {error}"
        ) from error
