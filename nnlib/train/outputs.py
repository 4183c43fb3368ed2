"""Joining a model's outputs for many batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, describe
from nnlib_backends.dtypes import is_floating

__all__ = ["joined"]


def joined(outputs: Sequence[Any], rows: Sequence[int], dtype: Any, where: str = "") -> Any:
    """Join a model's outputs for batches of these numbers of rows, and copy them to the host.

    Parameters
    ----------
    outputs : sequence of Tensor, or of nested tuples, lists and dicts of tensors
    rows : sequence of int
    dtype : dtype or None
        Dtype of the floats in the result.
    where : str
        Names a part of the outputs in an error.

    Raises
    ------
    DTypeError
        If the outputs have other parts than tensors with the samples along their first axis.

    Examples
    --------
    >>> import nnlib
    >>> joined([(nnlib.ones(1), {"a": nnlib.zeros(1)}), (nnlib.ones(2), {"a": nnlib.zeros(2)})],
    ...        [1, 2], None)
    (array([1., 1., 1.], dtype=float32), {'a': array([0., 0., 0.], dtype=float32)})
    """
    first = outputs[0]
    alike = all(type(output) is type(first) for output in outputs)
    if isinstance(first, dict) and alike and all(o.keys() == first.keys() for o in outputs):
        return {
            key: joined([o[key] for o in outputs], rows, dtype, f"{where}[{key!r}]")
            for key in first
        }
    if isinstance(first, tuple | list) and alike and all(len(o) == len(first) for o in outputs):
        parts = [
            joined([o[i] for o in outputs], rows, dtype, f"{where}[{i}]") for i in range(len(first))
        ]
        named = hasattr(first, "_fields")
        return type(first)(*parts) if named else type(first)(parts)
    for output, count in zip(outputs, rows, strict=True):
        if not isinstance(output, Tensor) or output.shape[:1] != (count,):
            raise DTypeError(
                "predict needs outputs that are tensors with the examples along their first axis, "
                "or tuples, lists and dicts of such tensors, the same for every batch. Received: "
                f"{describe(output)} as output{where} for {count} examples. Call the model itself"
            )
    result = ops.concatenate(outputs, axis=0)
    if dtype is not None and result.dtype != dtype and is_floating(result.dtype):
        result = result.astype(dtype)
    return np.asarray(result.numpy())
