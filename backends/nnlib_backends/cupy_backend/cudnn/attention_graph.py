"""Attention as graphs of the cuDNN frontend: forward, and its gradients.

cuDNN's dimensions are (B, H, T, D); the strides describe our memory, (B, T, H, D) or a part of
(B, T, 3, H, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from nnlib_backends.cupy_backend.cudnn.graphs import DTYPES

__all__ = ["Attention", "Layout"]

#: Identifiers of a graph's tensors.
Q, K, V, RESULT, STATISTICS, BIAS, FACTOR, DRESULT, DQ, DK, DV = range(1, 12)

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Memory layout of an array (B, T, H, D).

    Attributes
    ----------
    shape : tuple of int
    strides : tuple of int
        In elements.

    Examples
    --------
    >>> import numpy as np
    >>> qkv = np.zeros((2, 5, 3, 4, 8), np.float32)
    >>> Layout.of(qkv[:, :, 1])
    Layout(shape=(2, 5, 4, 8), strides=(480, 96, 8, 1))
    """

    shape: Shape
    strides: Shape

    @classmethod
    def of(cls, array: Any) -> Layout:
        """Return the layout of an array."""
        return cls(array.shape, tuple(s // array.dtype.itemsize for s in array.strides))


@dataclass(frozen=True)
class Attention:
    """A problem of attention to plan.

    Attributes
    ----------
    direction : str
        ``"forward"`` or ``"backward"``.
    q, k, v : Layout
    gradients : tuple of Layout
        Of the gradients by q, k and v; empty for the forward direction.
    dtype : str
        Of all these; sums and statistics are in float32.
    scale : float
        Factor of the scores.
    causal : str
        ``""`` for none; ``"top left"``: query i sees keys 0 … i; ``"bottom right"``: the last query
        sees all keys.  With a bias or a factor cuDNN supports the first one only.
    bias : tuple of int or None
        Shape (B or 1, H or 1, T, S) of float32 that is added to the scores.
    factor : str or None
        Dtype of the factor of the weights, (B, H, T, S).
    deterministic : bool
        Whether gradients must be the same in every run; takes more time and memory.
    """

    direction: str
    q: Layout
    k: Layout
    v: Layout
    gradients: tuple[Layout, ...]
    dtype: str
    scale: float
    causal: str
    bias: Shape | None
    factor: str | None
    deterministic: bool

    workspace_limit: ClassVar[int | None] = None

    @property
    def result(self) -> Layout:
        """(B, T, H, features of the value), contiguous."""
        shape = (*self.q.shape[:3], self.v.shape[3])
        return Layout(shape, _contiguous(shape))

    def add_to(self, graph: Any, cudnn: Any) -> None:
        """Add its tensors and operations to an empty graph."""
        tensors = _Tensors(graph, cudnn)
        io, float32 = tensors.dtype(self.dtype), cudnn.data_type.FLOAT
        q, k, v = (
            tensors.add(uid, layout, io) for uid, layout in ((Q, self.q), (K, self.k), (V, self.v))
        )
        options = self._options(graph, cudnn, tensors)
        batch, queries, heads, _ = self.q.shape
        rows = [batch, heads, queries, 1]
        if self.direction == "forward":
            y, statistics = graph.sdpa(q=q, k=k, v=v, generate_stats=True, **options)
            tensors.output(y, RESULT, self.result, io)
            statistics.set_output(True).set_uid(STATISTICS).set_data_type(float32)
            statistics.set_dim(rows).set_stride(list(_contiguous(rows)))
            return
        found = graph.sdpa_backward(
            q=q, k=k, v=v,
            o=tensors.add(RESULT, self.result, io),
            dO=tensors.add(DRESULT, self.result, io),
            stats=tensors.plain(STATISTICS, rows, float32),
            use_deterministic_algorithm=self.deterministic,
            **options,
        )  # fmt: skip
        for gradient, uid, layout in zip(found, (DQ, DK, DV), self.gradients, strict=True):
            tensors.output(gradient, uid, layout, io)

    def _options(self, graph: Any, cudnn: Any, tensors: _Tensors) -> dict[str, Any]:
        options: dict[str, Any] = {"attn_scale": self.scale}
        if self.causal:
            alignment = cudnn.diagonal_alignment
            options["diagonal_alignment"] = (
                alignment.TOP_LEFT if self.causal == "top left" else alignment.BOTTOM_RIGHT
            )
            options["diagonal_band_right_bound"] = 0
        if self.bias is not None:
            options["bias"] = tensors.plain(BIAS, self.bias, cudnn.data_type.FLOAT)
        if self.factor is not None:
            (batch, queries, heads, _), keys = self.q.shape, self.k.shape[1]
            mask = tensors.plain(FACTOR, (batch, heads, queries, keys), tensors.dtype(self.factor))
            # cuDNN multiplies by a mask and a number, and asks for the number's inverse, too.
            one = [
                graph.tensor_scalar(1.0, cudnn.scalar_type.COMPILE_TIME_CONST)
                for _ in range(1 if self.direction == "forward" else 2)
            ]
            options["dropout"] = (mask, *one)
        return options

    def excluded(self, cudnn: Any) -> list[Any]:
        """Return an empty list, because all kernels have the same precision."""
        return []


class _Tensors:
    """Functions that add tensors to a graph."""

    def __init__(self, graph: Any, cudnn: Any) -> None:
        self._graph, self._cudnn = graph, cudnn

    def dtype(self, name: str) -> Any:
        return getattr(self._cudnn.data_type, DTYPES[name])

    def add(self, uid: int, layout: Layout, dtype: Any) -> Any:
        dim, stride = _in_order(layout)
        return self._graph.tensor(
            dim=dim, stride=stride, data_type=dtype, uid=uid, name=f"tensor{uid}"
        )

    def plain(self, uid: int, shape: Any, dtype: Any) -> Any:
        """Add a tensor that is contiguous in cuDNN's order of dimensions."""
        return self._graph.tensor(
            dim=list(shape), stride=list(_contiguous(shape)), data_type=dtype, uid=uid,
            name=f"tensor{uid}",
        )  # fmt: skip

    def output(self, tensor: Any, uid: int, layout: Layout, dtype: Any) -> None:
        dim, stride = _in_order(layout)
        tensor.set_output(True).set_dim(dim).set_stride(stride).set_data_type(dtype).set_uid(uid)


def _in_order(layout: Layout) -> tuple[list[int], list[int]]:
    """(B, T, H, D) → (B, H, T, D)."""
    order = (0, 2, 1, 3)
    return [layout.shape[i] for i in order], [layout.strides[i] for i in order]


def _contiguous(shape: Any) -> Shape:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides)
