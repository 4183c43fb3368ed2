"""What a tensor offers because a function does: operators, and methods of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from nnlib import ops

if TYPE_CHECKING:
    from nnlib.autograd.tensor import Tensor

__all__ = ["TensorMethods", "bare_key"]

Axis: TypeAlias = "int | tuple[int, ...] | None"


class TensorMethods:
    """The part of `Tensor` that computes; each method calls a function of ``nnlib.ops``."""

    __slots__ = ()

    # Operators -------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]  # a Tensor, the only subclass

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):  # never equal: Python answers False
            return NotImplemented
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Tensor:
        return ops.bitwise_and(self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Tensor:
        return ops.bitwise_or(self, other)

    __ror__ = __or__

    def __invert__(self) -> Tensor:
        return ops.invert(self)

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key=bare_key(key))

    # Methods with a function of the same name ------------------------------------------------

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Sum over an axis, several, or all."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Arithmetic mean over an axis, several, or all."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Variance; the divisor is the number of values minus ``ddof``."""
        result: Tensor = ops.var(self, axis, keepdims, ddof)
        return result

    def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Standard deviation; the divisor is the number of values minus ``ddof``."""
        result: Tensor = ops.std(self, axis, keepdims, ddof)
        return result

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Largest value."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Smallest value."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None) -> Tensor:
        """Index of the largest value."""
        return ops.argmax(self, axis=axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """Index of the smallest value."""
        return ops.argmin(self, axis=axis)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether any value is true (not zero)."""
        return ops.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether all values are true (not zero)."""
        return ops.all(self, axis=axis, keepdims=keepdims)

    def copy(self) -> Tensor:
        """Copy the values to new memory (differentiable)."""
        return ops.copy(self)

    clone = copy  #: PyTorch's name

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """Limit to [min, max]."""
        return ops.clip(self, min=min, max=max)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """Return the same values in another shape."""
        return ops.reshape(self, shape=_flatten(shape))

    def transpose(self, *axes: int | Sequence[int]) -> Tensor:
        """Permute the axes; without arguments, reverse them."""
        return ops.transpose(self, axes=_flatten(axes) or None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Exchange two axes."""
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Drop axes of size 1."""
        return ops.squeeze(self, axis=axis)

    def flatten(self) -> Tensor:
        """Return all values along one axis."""
        return ops.reshape(self, shape=(-1,))

    @property
    def T(self) -> Tensor:  # noqa: N802 - NumPy's name
        """The tensor with its axes reversed."""
        return ops.transpose(self)


def bare_key(key: Any) -> Any:
    """Return an index with arrays in place of tensors."""
    if isinstance(key, tuple):
        return tuple(bare_key(part) for part in key)
    return key.data if isinstance(key, TensorMethods) else key  # type: ignore[attr-defined]


def _flatten(values: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(values[0]) if len(values) == 1 and hasattr(values[0], "__iter__") else values
