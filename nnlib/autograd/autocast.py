"""Mixed precision: which operations compute in 16 bits, and which stay in float32.

Parameters stay in float32: they are the master weights.  The first GEMM or convolution converts the
data to 16 bits, and later layers keep that dtype.  Each operation states its `Policy`; one without
a policy follows NumPy's rules of promotion, and computes in float32 unless it is exact.

A backend without a kernel for such arguments (`KernelPair.half`) rounds them to 16 bits, computes
in float32 and rounds the result: the numbers of a tensor core at the speed of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import numpy as np

from nnlib import ops
from nnlib.autograd.mode import enter, half_dtype, leave, low, without_autocast
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


#: Name of an operation → its policy, which the operations define.
POLICIES = MappingProxyType(
    {
        name: policy
        for name in ops.__all__
        if (policy := getattr(getattr(ops, name), "autocast", None)) is not None
    }
)


class autocast(ContextDecorator):  # noqa: N801 - used like a function, named as in PyTorch
    """Compute in a lower precision where that is safe: a context manager and a decorator.

    Use it around the forward pass and the loss; the backward pass has the same precision.
    Parameters, gradients, losses, reductions, exponentials and the statistics of norms stay
    float32; :data:`nnlib.autograd.autocast.POLICIES` has the whole table.  Arrays of float64 are
    not converted.

    Parameters
    ----------
    dtype : {"bf16", "fp16", "tf32"}
        ``"bf16"``: GEMMs, convolutions and the data between layers are bfloat16 (8 bits of
        precision, the range of float32).  ``"fp16"``: they are float16 (11 bits, up to 65,504);
        small gradients become zero unless the loss is scaled, see `nnlib.optim.GradScaler`.
        ``"tf32"``: everything is float32, and GEMMs on a GPU may round their inputs to 11 bits; no
        effect on the CPU.
    enabled : bool
        If false, switch this precision off inside another ``autocast``.

    Raises
    ------
    OptionError
        If the dtype is not one of these.
    MissingExtraError
        If the package ``ml_dtypes``, which NumPy and CuPy need for bfloat16, is not installed.

    Notes
    -----
    It is meant for GPUs; a CPU computes the same numbers more slowly than in float32.

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
    """Return the settings of `autocast`, which are part of a specialization's key."""
    return half_dtype(), tf32_allowed.get()


@primitive
def rounded(xp: Any, x: Any, *, dtype: Any) -> Any:
    """Round to the precision of a shorter dtype, and keep the dtype; the gradient is not rounded.

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
    operation: Operation, args: Sequence[Any], options: dict[str, Any], to: Any, half: bool
) -> Any:
    """Apply an operation, some of whose arguments are tensors, by its policy.

    Parameters
    ----------
    operation : Operation
    args, options
        Its arguments.
    to : dtype
        The 16-bit dtype.
    half : bool
        Whether to leave parameters as they are, for a kernel that takes them so.
    """
    policy = operation.autocast
    assert policy is not None
    if any(_name(arg) == "float64" for arg in args):
        with without_autocast():
            return operation(*args, **options)
    first = next((_name(arg) for arg in args if is_tensor(arg)), "")
    given = [
        _converted(arg, name, policy, to, half)
        for arg, name in zip(args, operation.arrays, strict=False)
    ] + list(args[len(operation.arrays) :])
    with without_autocast():
        result = operation(*given, **options)
        if policy.result == "half":
            return result if result.dtype == to else astype(result, dtype=to)
        if policy.result == "same" and first in LOW_DTYPES and _name(result) != first:
            return astype(result, dtype=first)
    return result


def _converted(arg: Any, name: str, policy: Policy, to: Any, half: bool) -> Any:
    """Convert one argument by the policy."""
    if not is_tensor(arg) or not is_floating(arg.dtype):
        return arg
    if half:
        return astype(arg, dtype=to) if name in policy.data and arg.dtype != to else arg
    if arg.dtype.name in LOW_DTYPES:
        return astype(arg, dtype="float32")
    return rounded(arg, dtype=to) if name in policy.data or policy.parameters else arg


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor."""
    return isinstance(value, Tensor)


def _name(value: Any) -> str:
    return value.dtype.name if hasattr(value, "dtype") else ""
