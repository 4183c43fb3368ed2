"""Checks of the arguments of functions and layers.

Shapes, dtypes and options are always checked.  Values are checked only in host memory
(`nnlib_backends.Backend.host_memory`): a training step on a GPU reads nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from nnlib import ops
from nnlib.arguments import check_choice, check_fraction, check_numbers
from nnlib.autograd import Tensor, tensor
from nnlib.autograd.mode import half_dtype
from nnlib.errors import DTypeError, NnlibError, OptionError, ShapeError
from nnlib.nn.functional.counted import counting, noted
from nnlib.ops.operation import in_float32
from nnlib.tracing import current
from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_floating, is_half

__all__ = [
    "Pair",
    "TensorLike",
    "as_tensor",
    "check_axis",
    "check_choice",
    "check_fraction",
    "check_numbers",
    "check_range",
    "check_shape",
    "float32_inside",
    "floating",
    "like",
    "pair",
    "reduce",
]

Pair: TypeAlias = int | tuple[int, int]
TensorLike: TypeAlias = "Tensor | Array | Sequence[Any] | float"
"""A tensor, or an argument of `nnlib.tensor`."""

REDUCTIONS = ("mean", "sum", "none")


def as_tensor(value: TensorLike, other: Tensor | None = None) -> Tensor:
    """Return a tensor; wrap an array; make a tensor of Python data on the backend of ``other``."""
    if isinstance(value, Tensor):
        return value
    if other is None or hasattr(value, "dtype"):
        return tensor(value)  # arrays keep their backend
    return tensor(value, backend=other.backend)


def floating(x: TensorLike, name: str) -> Tensor:
    """Convert to a tensor and check that it is floating-point (integers would become float64)."""
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if not is_floating(x.dtype):
        raise DTypeError(
            f"{name} needs floating-point values. Received: {x.dtype} {x.shape}. "
            "Convert them: x.astype('float32')"
        )
    return x


_Function = TypeVar("_Function", bound=Callable[..., Tensor])


def float32_inside(function: _Function) -> _Function:
    """Decorate a function to compute 16-bit input in float32, and to round the result only.

    Under `nnlib.autocast` it does nothing: the policy of each operation determines the dtypes.

    Examples
    --------
    >>> import nnlib
    >>> @float32_inside
    ... def length(x):
    ...     return ops.sqrt(ops.sum(x * x))
    >>> length(nnlib.tensor([3000.0, 4000.0], dtype="float16")).item()
    5000.0
    """
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    @functools.wraps(function)
    def compute(*args: Any, **options: Any) -> Tensor:
        for name in names[len(args) :]:  # arrays may be keywords, too
            if name not in options:
                break
            args = (*args, options.pop(name))
        if args and is_half(args[0]) and half_dtype() is None:
            with counting() as counts:
                y = in_float32(function, args, options)
            return counts.passed_to(cast("Tensor", y))
        return function(*args, **options)

    return cast("_Function", compute)


def like(value: TensorLike, input: Tensor, name: str) -> Tensor:
    """Convert a target to the input's dtype, and check its shape.

    Raises
    ------
    ShapeError
        If the shapes differ: broadcasting (N,) against (N, 1) would make an N × N loss.
    """
    value = as_tensor(value, input)
    if value.shape != input.shape:
        raise ShapeError(
            f"{name} needs input and target of one shape. Received: {input.shape} and "
            f"{value.shape}. Reshape one of them"
        )
    return value if value.dtype == input.dtype else value.astype(input.dtype)


def check_shape(value: Tensor | None, shape: tuple[int, ...], name: str) -> None:
    """Check the shape of an optional parameter."""
    if value is not None and value.shape != shape:
        raise ShapeError(f"{name} must have shape {shape}. Received: {value.dtype} {value.shape}")


def check_axis(axis: int, ndim: int, name: str) -> int:
    """Return an axis counted from the front."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name} must name one of {ndim} axes. Received: {axis}")
    return axis % ndim


def check_range(
    values: Tensor, low: float, high: float, error: type[NnlibError], what: str
) -> None:
    """Check that values are in [low, high], if they are in host memory."""
    if not values.backend.host_memory or values.size == 0:
        return
    tracing = current()
    if tracing is None:
        _check_array(values.data, low, high, error, what)
    else:
        tracing.tracer.call(_check_array, values.data, low, high, error, what)


def _check_array(
    values: Array, low: float, high: float, error: type[NnlibError], what: str
) -> None:
    smallest, largest = values.min(), values.max()
    if not (low <= smallest and largest <= high):  # a NaN fails too
        raise error(
            f"{what} must be in {low} … {high}. Received: values from {smallest} to {largest}"
        )


def pair(value: Pair, name: str, least: int = 1) -> tuple[int, int]:
    """Return (height, width) of an option that may be given as one integer.

    Examples
    --------
    >>> pair(3, "kernel_size")
    (3, 3)
    """
    both: tuple[Any, ...] = tuple(value) if isinstance(value, tuple | list) else (value, value)
    fits = len(both) == 2
    for n in both:
        fits = fits and isinstance(n, int) and not isinstance(n, bool) and n >= least
    if not fits:
        raise OptionError(
            f"{name} must be an integer ≥ {least}, or a pair of them for height and width. "
            f"Received: {value!r}"
        )
    return both[0], both[1]


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """Combine the losses of all samples.

    Parameters
    ----------
    losses : Tensor
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ShapeError
        If there is no loss for a mean.
    """
    check_choice(reduction, REDUCTIONS, "reduction")
    if reduction == "none":
        return losses
    if reduction == "sum":
        return noted(ops.sum(losses), None)
    if losses.size == 0:
        raise ShapeError(f"the mean needs at least one loss. Received: shape {losses.shape}")
    return noted(ops.mean(losses), losses.size)
