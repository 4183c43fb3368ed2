"""Sum, difference and product of two arrays of one shape, on all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.base import PrimitiveKernel
from nnlib_backends.numpy_backend.codegen.arguments import Vector, kernel
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, is_float32
from nnlib_backends.numpy_backend.launch import empty, launch, split

__all__ = ["PRIMITIVES"]

ADD, SUBTRACT, MULTIPLY = range(3)


@kernel
def combine(chunk, start, stop, a: Vector, b: Vector, y: Vector, operation: int):
    """``y = a + b``, ``a - b`` or ``a · b``, arrays of one size."""
    a, b, y = a[start:stop], b[start:stop], y[start:stop]
    if operation == ADD:
        for i in range(y.size):
            y[i] = a[i] + b[i]
    elif operation == SUBTRACT:
        for i in range(y.size):
            y[i] = a[i] - b[i]
    else:
        for i in range(y.size):
            y[i] = a[i] * b[i]


def _combine(operation: int) -> Callable[[Any, Any], Any]:
    def forward(a: Any, b: Any) -> Any:
        # broadcasting, scalars and other dtypes: NumPy is fast enough
        if not (is_float32(a, b) and a.shape == b.shape and a.ndim):
            return NotImplemented
        if not (a.flags.c_contiguous and b.flags.c_contiguous):
            return NotImplemented
        y = empty(a.shape)
        launch(combine, a, b, y, operation, items=y.size, chunks=split(y.size, ELEMENTS))
        return y

    return forward


PRIMITIVES = {
    "add": PrimitiveKernel(_combine(ADD)),
    "subtract": PrimitiveKernel(_combine(SUBTRACT)),
    "multiply": PrimitiveKernel(_combine(MULTIPLY)),
}
