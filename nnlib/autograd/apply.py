"""Apply an operation to tensors: compute the result and put a node on the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlib.arguments import ARRAY_ERRORS, explain
from nnlib.autograd.autocast import applied
from nnlib.autograd.mode import half_dtype, is_grad_enabled
from nnlib.autograd.node import Node
from nnlib.autograd.nodes import FusedNode, PrimitiveNode
from nnlib.autograd.tensor import Tensor, operand_array
from nnlib.errors import describe
from nnlib.memory import out_of_memory
from nnlib.ops.operation import Fused, Operation, Primitive, in_float32
from nnlib.tracing import Guards, current
from nnlib_backends import Backend, KernelPair
from nnlib_backends.dtypes import is_floating, is_half

__all__ = ["apply"]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def apply(operation: Operation, args: Sequence[Any], options: dict[str, Any]) -> Any:
    """Compute an operation whose arguments include a tensor; return a tensor."""
    for arg in args:
        if isinstance(arg, Tensor):
            backend = arg.backend
            break
    half = half_dtype()
    if half is not None and operation.autocast is not None:
        return applied(operation, args, options, half, _has_half_kernel(backend, operation))
    dtype = arg.data.dtype
    if dtype is not FLOAT32 and dtype is not FLOAT64:
        if not operation.exact and is_half(arg) and not _takes_half(backend, operation, args):
            return in_float32(operation, args, options)
        if isinstance(operation, Fused) and not is_floating(dtype):
            args = [_as_float(x) if i in operation.floats else x for i, x in enumerate(args)]
    fused = operation if isinstance(operation, Fused) else None
    kernel = None
    if fused is not None:
        kernel = backend.kernels.get(operation.name)
        if kernel is None:
            return operation.compute(args, options)
        if len(args) < len(fused.arrays) or len(options) < len(fused.options):
            args, options = fused.bind(args, options)
    arrays: list[Any] = []
    nodes: list[Node | None] = []
    cells: list[list[int] | None] = []
    for arg in args:
        if isinstance(arg, Tensor) and arg.backend is backend:
            arrays.append(arg.data)
            nodes.append(arg.node)
            cells.append(arg.version_cell)
        else:
            arrays.append(arg if arg is None else operand_array(operation.name, arg, backend))
            nodes.append(None)
            cells.append(None)
    if fused is not None and fused.check is not None:
        fused.check(*arrays, **options)
    tracing = current()
    if tracing is not None:
        computed = _trace(tracing, args, operation, kernel, backend, arrays, options)
    elif backend.scope is None:
        computed = _compute(operation, kernel, backend, arrays, options)
    else:
        with backend.scope:
            computed = _compute(operation, kernel, backend, arrays, options)
    if computed is NotImplemented:  # the kernel does not support these arrays or options
        return operation.compute(args, options)
    y, saved = computed
    result = Tensor(y, backend)
    if y.base is not None and fused is None:  # the result of a kernel shares no memory
        _share_version(result, args)
    if nodes.count(None) < len(nodes) and is_grad_enabled() and is_floating(y.dtype):
        inputs = (arrays, cells, tuple(nodes), options)
        if fused is not None:
            assert kernel is not None
            result.node = FusedNode(fused, kernel, saved, result, *inputs)
        elif isinstance(operation, Primitive) and (rules := operation.rules_for(nodes)):
            result.node = PrimitiveNode(operation, rules, result, *inputs)
    return result


def _has_half_kernel(backend: Backend, operation: Operation) -> bool:
    """Whether a kernel takes data of 16 bits beside parameters of float32."""
    table = backend.kernels if isinstance(operation, Fused) else backend.primitives
    kernel = table.get(operation.name)
    return kernel is not None and kernel.half


def _takes_half(backend: Backend, operation: Operation, args: Sequence[Any]) -> bool:
    """Whether a kernel takes these 16-bit arrays: its weight and bias must not have 16 bits."""
    return _has_half_kernel(backend, operation) and not any(
        name in ("weight", "bias") and is_half(x)
        for name, x in zip(operation.arrays[1:], args[1:], strict=False)
    )


def _as_float(x: Any) -> Any:
    """Convert integers to float32."""
    integers = hasattr(x, "dtype") and not is_floating(x.dtype)
    return x.astype("float32") if integers else x


def _trace(tracing: Guards, args: Sequence[Any], *call: Any) -> Any:
    """Compute, and add the call to the trace."""
    for arg in args:
        if isinstance(arg, Tensor):
            tracing.note_tensor(arg)
    return tracing.tracer.compute(_compute, *call)


def _compute(
    operation: Operation,
    kernel: KernelPair | None,
    backend: Backend,
    arrays: list[Any],
    options: dict[str, Any],
) -> Any:
    """Return the result and the values that a kernel saves for its backward pass.

    Returns ``NotImplemented`` if the kernel does not support the arguments.
    """
    try:
        if kernel is not None:
            computed = kernel.forward(*arrays, **options)
            if computed is NotImplemented:
                return computed
            y, saved = computed
        else:
            assert isinstance(operation, Primitive)
            y, saved = operation.run(backend, arrays, options), None
    except ARRAY_ERRORS as error:
        explain(error, operation.name, arrays, options)
    except MemoryError as error:
        what = f"{operation.name} of {describe(*arrays)}"
        raise out_of_memory(error, backend, what) from None
    if type(y) is not backend.array_type:  # NumPy turns 0-d results into scalars
        y = backend.asarray(y)
    if y.dtype.char == "d" and "dtype" not in options and not _has_float64(arrays):
        y = y.astype("float32")  # the result of integers: float64 comes only from float64
    return y, saved


def _has_float64(arrays: Sequence[Any]) -> bool:
    return any(hasattr(array, "dtype") and array.dtype.char == "d" for array in arrays)


def _share_version(result: Any, args: Sequence[Any]) -> None:
    """Share one version counter between a view and its base."""
    for arg in args:
        if isinstance(arg, Tensor) and result.backend.xp.may_share_memory(result.data, arg.data):
            result.version_cell = arg.version_cell
            return


Tensor.__nnlib_apply__ = staticmethod(apply)
