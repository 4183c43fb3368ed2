"""Linear maps, embeddings and dropout."""

from __future__ import annotations

from typing import Any

from nnlib import ops
from nnlib.arguments import explained
from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, LabelError, OptionError, ShapeError
from nnlib.nn.functional.checks import (
    TensorLike,
    as_tensor,
    check_choice,
    check_fraction,
    check_range,
    floating,
)
from nnlib.ops.linear import LINEAR_ACTIVATIONS
from nnlib.random import Generator, default_generator

__all__ = ["dropout", "embedding", "linear", "one_hot"]


@explained
def linear(
    x: TensorLike, weight: Tensor, bias: Tensor | None = None, *, activation: str | None = None
) -> Tensor:
    """``x Wᵀ + b`` with samples as rows (the course's z = W a + b), then an activation.

    Parameters
    ----------
    x : Tensor, (..., in_features)
    weight : Tensor, (out_features, in_features)
    bias : Tensor, (out_features,), optional
    activation : {None, "relu", "tanh", "sigmoid", "gelu_tanh"}
        Applied in the epilogue of the GEMM, which is faster than a separate operation.

    Returns
    -------
    Tensor, (..., out_features)

    Raises
    ------
    ShapeError, DTypeError
        If the shapes do not fit, or x holds integers.
    OptionError
        If ``activation`` is unknown.

    Examples
    --------
    >>> import nnlib
    >>> linear(nnlib.ones(1, 2), nnlib.tensor([[1.0, 2.0]]), nnlib.tensor([0.5]))
    tensor([[3.5]])
    """
    x = floating(x, "linear")
    if not isinstance(weight, Tensor):
        weight = as_tensor(weight)
    if activation is not None:
        check_choice(activation, tuple(LINEAR_ACTIVATIONS), "activation")
    return ops.linear(x, weight, bias, activation=activation)


@explained
def embedding(indices: TensorLike, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Look up a row of a table for every index.

    Parameters
    ----------
    indices : Tensor of integers, any shape
        In [0, num_embeddings), which is checked on the CPU only.
    weight : Tensor, (num_embeddings, embedding_dim)
    padding_idx : int, optional
        The row of this index has no gradient.

    Returns
    -------
    Tensor, (..., embedding_dim)

    Raises
    ------
    DTypeError
        If the indices are no integers.
    OptionError
        If an index is out of range.

    Examples
    --------
    >>> import nnlib
    >>> embedding([1, 0, 1], nnlib.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    weight = as_tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(
            f"the table must be (num_embeddings, embedding_dim). Received: {weight.shape}"
        )
    indices = as_tensor(indices, weight)
    if indices.dtype.kind not in "iu":
        raise DTypeError(
            f"embedding needs integer indices. Received: {indices.dtype} {indices.shape}. "
            "Convert them: indices.astype('int64')"
        )
    check_range(indices, 0, weight.shape[0] - 1, OptionError, "indices")
    rows = ops.embedding(weight, indices)
    if padding_idx is None:
        return rows
    learned = ops.expand_dims(indices != padding_idx % weight.shape[0], axis=-1)
    return ops.where(learned, rows, rows.detach())


@explained
def one_hot(labels: TensorLike, num_classes: int, dtype: Any = "int64") -> Tensor:
    """Return rows of zeros with a one at each label.

    Parameters
    ----------
    labels : Tensor of integers, any shape
        In [0, num_classes).  Checked on the CPU; on a GPU a label out of range has a row of zeros.
    num_classes : int
    dtype : dtype
        Dtype of the result; float32 for a target of `cross_entropy`.

    Returns
    -------
    Tensor, (..., num_classes)

    Raises
    ------
    DTypeError
        If the labels are no integers.
    OptionError
        If there are no classes.
    LabelError
        If a label is out of range (checked on the CPU only).

    Examples
    --------
    >>> one_hot([0, 2], 3)
    tensor([[1, 0, 0],
            [0, 0, 1]], dtype=int64)
    """
    labels = as_tensor(labels)
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"one_hot needs integer labels. Received: {labels.dtype} {labels.shape}")
    if num_classes < 1:
        raise OptionError(f"num_classes must be at least 1. Received: {num_classes}")
    check_range(labels, 0, num_classes - 1, LabelError, "labels")
    classes = Tensor(labels.backend.xp.arange(num_classes), labels.backend)
    return (ops.expand_dims(labels, axis=-1) == classes).astype(dtype)


@explained
def dropout(
    x: TensorLike, p: float = 0.5, training: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """Set each value to 0 with probability p and divide the others by 1 − p.

    This preserves the expected value.  Source: Srivastava et al. (2014), in the "inverted" form.

    Parameters
    ----------
    x : Tensor
    p : float
        In [0, 1].
    training : bool
        If false, return x itself.
    generator : Generator, optional
        Draws the mask; `nnlib.random.default_generator` if not given.

    Raises
    ------
    OptionError
        If p is outside [0, 1].

    Examples
    --------
    >>> import nnlib
    >>> dropout(nnlib.ones(2), p=0.5, training=False)
    tensor([1., 1.])
    """
    check_fraction(p, "p")
    x = floating(x, "dropout")
    if not training or p == 0:
        return x
    key = (generator or default_generator).reserve(x.size, x.backend)
    return ops.dropout(x, key, p=p)
