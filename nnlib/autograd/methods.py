"""What a tensor offers because a function does: operators, and methods of the same name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeAlias

from nnlib import ops
from nnlib.errors import ArgumentError
from nnlib.ops.operation import Operation

if TYPE_CHECKING:
    from nnlib.autograd.tensor import Tensor

__all__ = ["TensorMethods", "bare_key"]

Axis: TypeAlias = "int | tuple[int, ...] | None"
Operator: TypeAlias = "Callable[[Any, Any], Tensor]"


def _operators(operation: Operation) -> tuple[Operator, Operator]:
    """Return the methods that compute an operation with a tensor on its left, and on its right."""

    def left(self: Any, other: Any) -> Tensor:
        return operation(self, other)

    def right(self: Any, other: Any) -> Tensor:
        return operation(other, self)

    return left, right


class TensorMethods:
    """The part of `Tensor` that computes; each method calls a function of ``nnlib.ops``."""

    __slots__ = ()

    # Operators -------------------------------------------------------------------------------

    __add__, __radd__ = _operators(ops.add)
    __sub__, __rsub__ = _operators(ops.subtract)
    __mul__, __rmul__ = _operators(ops.multiply)
    __truediv__, __rtruediv__ = _operators(ops.divide)
    __floordiv__, __rfloordiv__ = _operators(ops.floor_divide)
    __mod__, __rmod__ = _operators(ops.remainder)
    __pow__, __rpow__ = _operators(ops.power)
    __matmul__, __rmatmul__ = _operators(ops.matmul)
    __and__, __rand__ = _operators(ops.bitwise_and)
    __or__, __ror__ = _operators(ops.bitwise_or)
    __lt__, __gt__ = _operators(ops.less)[0], _operators(ops.greater)[0]
    __le__, __ge__ = _operators(ops.less_equal)[0], _operators(ops.greater_equal)[0]

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return ops.floor_divide(self, other), ops.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return ops.floor_divide(other, self), ops.remainder(other, self)

    def __round__(self, digits: int | None = None) -> Tensor:
        return ops.round(self, decimals=digits or 0)

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

    __hash__ = object.__hash__

    def __invert__(self) -> Tensor:
        return ops.invert(self)

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key=bare_key(key))

    def __contains__(self, value: Any) -> bool:
        return bool(ops.any(ops.equal(self, value)))

    # Methods with a function of the same name ------------------------------------------------
    #
    # Keywords that they do not know go to the function, whose error says which there are.

    def sum(
        self, axis: Axis = None, keepdims: bool = False, dtype: Any = None, **unknown: Never
    ) -> Tensor:
        """Sum over an axis, several, or all; in another dtype, if given."""
        return ops.sum(self, axis=axis, keepdims=keepdims, **_more(dtype, unknown))

    def mean(
        self, axis: Axis = None, keepdims: bool = False, dtype: Any = None, **unknown: Never
    ) -> Tensor:
        """Arithmetic mean over an axis, several, or all; in another dtype, if given."""
        return ops.mean(self, axis=axis, keepdims=keepdims, **_more(dtype, unknown))

    def prod(
        self, axis: Axis = None, keepdims: bool = False, dtype: Any = None, **unknown: Never
    ) -> Tensor:
        """Product over an axis, several, or all; in another dtype, if given."""
        return ops.prod(self, axis=axis, keepdims=keepdims, **_more(dtype, unknown))

    def cumsum(self, axis: int | None = None, dtype: Any = None, **unknown: Never) -> Tensor:
        """Running sum along an axis, or of all values in a row; in another dtype, if given."""
        return ops.cumsum(self, axis=axis, **_more(dtype, unknown))

    def var(
        self, axis: Axis = None, keepdims: bool = False, ddof: int = 0, **unknown: Never
    ) -> Tensor:
        """Variance; the divisor is the number of values minus ``ddof``."""
        result: Tensor = ops.var(self, axis, keepdims, ddof, **unknown)
        return result

    def std(
        self, axis: Axis = None, keepdims: bool = False, ddof: int = 0, **unknown: Never
    ) -> Tensor:
        """Standard deviation; the divisor is the number of values minus ``ddof``."""
        result: Tensor = ops.std(self, axis, keepdims, ddof, **unknown)
        return result

    def max(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Largest value."""
        return ops.max(self, axis=axis, keepdims=keepdims, **unknown)

    def min(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Smallest value."""
        return ops.min(self, axis=axis, keepdims=keepdims, **unknown)

    def argmax(self, axis: int | None = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Index of the largest value."""
        return ops.argmax(self, axis=axis, keepdims=keepdims, **unknown)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Index of the smallest value."""
        return ops.argmin(self, axis=axis, keepdims=keepdims, **unknown)

    def any(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Whether any value is true (not zero)."""
        return ops.any(self, axis=axis, keepdims=keepdims, **unknown)

    def all(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Whether all values are true (not zero)."""
        return ops.all(self, axis=axis, keepdims=keepdims, **unknown)

    def copy(self) -> Tensor:
        """Copy the values to new memory (differentiable)."""
        return ops.copy(self)

    clone = copy  #: PyTorch's name

    def clip(self, min: Any = None, max: Any = None, **unknown: Never) -> Tensor:
        """Limit to [min, max], numbers or tensors."""
        return ops.clip(self, min=min, max=max, **unknown)

    def reshape(self, *shape: int | Sequence[int], **options: Any) -> Tensor:
        """Return the same values in another shape."""
        return ops.reshape(self, **_one("shape", shape, options))

    def transpose(self, *axes: int | Sequence[int], **options: Any) -> Tensor:
        """Permute the axes; without arguments, reverse them."""
        return ops.transpose(self, **(_one("axes", axes, options) if axes else options))

    def round(self, decimals: int = 0, **unknown: Never) -> Tensor:
        """Nearest numbers with so many decimals."""
        return ops.round(self, decimals=decimals, **unknown)

    def swapaxes(self, *axes: int, **options: int) -> Tensor:
        """Exchange two axes."""
        return ops.swapaxes(self, *axes, **options)

    def squeeze(self, axis: Axis = None, **unknown: Never) -> Tensor:
        """Drop axes of size 1."""
        return ops.squeeze(self, axis=axis, **unknown)

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
        return tuple(map(bare_key, key))
    return key.data if isinstance(key, TensorMethods) else key  # type: ignore[attr-defined]


def _more(dtype: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with a dtype, if there is one."""
    return options if dtype is None else {"dtype": dtype, **options}


def _one(name: str, values: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return options with one that may come as several arguments, as a sequence, or by name."""
    if len(values) == 1 and hasattr(values[0], "__iter__"):
        values = tuple(values[0])
    if name not in options:
        return {name: values, **options}
    if values:
        raise ArgumentError(f"{name} must be given once. Received: {values} and {options[name]}")
    return options
