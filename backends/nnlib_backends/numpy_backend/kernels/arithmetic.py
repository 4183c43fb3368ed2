"""Sum, difference and product of two arrays of one shape, on all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.base import PrimitiveKernel
from nnlib_backends.numpy_backend.codegen.arguments import integer, kernel, vector
from nnlib_backends.numpy_backend.codegen.host import ELEMENTS, is_float32
from nnlib_backends.numpy_backend.launch import empty, launch, split

__all__ = ["PRIMITIVES"]

ADD, SUBTRACT, MULTIPLY = range(3)


@kernel
def combine(t, chunk, start, stop):
    """Arguments: a, b, y, which operation."""
    a, b, y = vector(t, 0)[start:stop], vector(t, 1)[start:stop], vector(t, 2)[start:stop]
    operation = integer(t, 3)
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
        # broadcasting, scalars and other dtypes: NumPy does well enough
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
