"""Mixed precision: which operations compute in 16 bits, and which stay in float32.

Parameters stay in float32; they are the master weights.  Data become 16 bits wide where they enter
the first product, and flow on so.  An operation's `Policy` says what becomes of it; one without
computes as ever, by NumPy's rules of promotion, and in float32 unless it is exact.

A backend without a kernel for such arguments (`Backend.mixed`) rounds them to 16 bits, computes in
float32, and rounds the result: the same numbers as of a tensor core, at the speed of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import numpy as np

from nnlib import ops
from nnlib.autograd.mode import enter, leave, low, low_dtype, without_autocast
from nnlib.autograd.tensor import Tensor
from nnlib.errors import MissingExtraError, OptionError
from nnlib.ops.operation import Operation, Policy, primitive
from nnlib.ops.shaping import astype
from nnlib_backends.dtypes import LOW_DTYPES, is_floating, tf32_allowed

__all__ = ["POLICIES", "applied", "autocast", "precision"]

_NAMES = {
    "bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16", "float16": "float16",
    "tf32": "tf32",
}  # fmt: skip


#: Name of an operation → what autocast makes of it; the operations state it themselves.
POLICIES = MappingProxyType(
    {
        name: policy
        for name in ops.__all__
        if (policy := getattr(getattr(ops, name), "autocast", None)) is not None
    }
)


class autocast(ContextDecorator):  # noqa: N801 - used like a function, named as in PyTorch
    """Compute in a lower precision where that is safe: a context manager and a decorator.

    Put the forward pass and the loss into it; the backward pass follows by itself.  Parameters and
    their gradients stay float32 (optimizers need no change), losses, reductions, exponentials and
    the insides of norms, too; :data:`nnlib.autograd.autocast.POLICIES` has the whole table.  Arrays
    of float64 are left alone.

    Parameters
    ----------
    dtype : {"bf16", "fp16", "tf32"}
        ``"bf16"``: products, and the data between layers, in bfloat16 (8 bits of precision, the
        range of float32).  ``"fp16"``: in float16 (11 bits, up to 65,504): small gradients vanish
        unless the loss is scaled, see `nnlib.optim.GradScaler`.  ``"tf32"``: everything is float32,
        and products on a GPU may round their inputs to 11 bits; elsewhere it changes nothing.
    enabled : bool
        If false, it switches this precision off inside of another ``autocast``.

    Raises
    ------
    OptionError
        For another word.
    MissingExtraError
        For bfloat16, where the package ``ml_dtypes`` is missing, from which NumPy and CuPy have it.

    Notes
    -----
    On a GPU it is about speed; on the CPU the same numbers come slower than in float32.

    References
    ----------
    Micikevicius et al., "Mixed precision training", ICLR 2018.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn
    >>> layer, x = nn.Linear(3, 2), nnlib.ones(1, 3)
    >>> with nnlib.autocast("fp16"):
    ...     y = layer(x)
    ...     loss = y.mean()
    >>> y.dtype, loss.dtype
    (dtype('float16'), dtype('float32'))
    >>> loss.backward()
    >>> layer.weight.grad.dtype
    dtype('float32')
    """

    def __init__(self, dtype: str = "bf16", enabled: bool = True) -> None:
        if dtype not in _NAMES:
            raise OptionError(f"the precision must be bf16, fp16 or tf32. Received: {dtype!r}")
        self._dtype, self._enabled = dtype, enabled
        self._variable: ContextVar[Any] = low
        self._value: Any = None
        if _NAMES[dtype] == "tf32":
            self._variable, self._value = tf32_allowed, enabled
        elif enabled:
            self._value = _dtype_of(_NAMES[dtype])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._dtype, self._enabled)

    def __enter__(self) -> None:
        enter(self._variable, self._value)

    def __exit__(self, *_: object) -> None:
        leave(self._variable)


def _dtype_of(name: str) -> Any:
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise MissingExtraError(
                "bfloat16 needs the package ml_dtypes. Install it: pip install ml_dtypes"
            ) from None
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def precision() -> tuple[Any, Any]:
    """Return what `autocast` has changed: part of what a recording depends on."""
    return low_dtype(), tf32_allowed.get()


@primitive
def rounded(xp: Any, x: Any, *, dtype: Any) -> Any:
    """Round to the values of a shorter dtype, in the dtype as it is; the gradient passes unrounded.

    Examples
    --------
    >>> import nnlib
    >>> float(rounded(nnlib.tensor(2049.0), dtype="float16"))
    2048.0
    """
    return x.astype(dtype).astype(x.dtype)


@rounded.vjp("x")
def _(g: Any) -> Any:
    return g


def applied(
    operation: Operation, args: Sequence[Any], options: dict[str, Any], to: Any, mixed: bool
) -> Any:
    """Apply an operation, some of whose arguments are tensors, by its policy.

    Parameters
    ----------
    operation : Operation
    args, options
        As it was called.
    to : dtype
        Of 16 bits.
    mixed : bool
        Whether to leave parameters as they are, for a kernel that takes them so.
    """
    policy = operation.autocast
    assert policy is not None
    if any(_name(arg) == "float64" for arg in args):
        with without_autocast():
            return operation(*args, **options)
    first = next((_name(arg) for arg in args if is_tensor(arg)), "")
    given = [
        _argument(arg, name, policy, to, mixed)
        for arg, name in zip(args, operation.arrays, strict=False)
    ] + list(args[len(operation.arrays) :])
    with without_autocast():
        result = operation(*given, **options)
        if policy.result == "low":
            return result if result.dtype == to else astype(result, dtype=to)
        if policy.result == "same" and first in LOW_DTYPES and _name(result) != first:
            return astype(result, dtype=first)
    return result


def _argument(arg: Any, name: str, policy: Policy, to: Any, mixed: bool) -> Any:
    """Return an argument as the operation shall get it."""
    if not is_tensor(arg) or not is_floating(arg.dtype):
        return arg
    if mixed:
        return astype(arg, dtype=to) if name in policy.data and arg.dtype != to else arg
    if arg.dtype.name in LOW_DTYPES:
        return astype(arg, dtype="float32")
    return rounded(arg, dtype=to) if name in policy.data or policy.parameters else arg


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor."""
    return isinstance(value, Tensor)


def _name(value: Any) -> str:
    return value.dtype.name if hasattr(value, "dtype") else ""
