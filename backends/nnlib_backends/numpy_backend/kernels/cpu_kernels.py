"""The table of compiled kernels: kernel pairs, primitives and updates by name."""

from __future__ import annotations

import numpy as np

from nnlib_backends.base import KernelPair, PrimitiveKernel
from nnlib_backends.numpy_backend.codegen import arguments
from nnlib_backends.numpy_backend.kernels import (
    activation,
    arithmetic,
    attention,
    batch_norm,
    dropout,
    embedding,
    linear,
    pooling,
    reduction,
    row_norm,
    slicing,
    softmax,
)
from nnlib_backends.numpy_backend.kernels.conv import conv2d
from nnlib_backends.numpy_backend.kernels.recurrent import gru, lstm, rnn
from nnlib_backends.numpy_backend.kernels.reduction import global_norm
from nnlib_backends.numpy_backend.kernels.updates import UPDATES

__all__ = ["KERNELS", "PRIMITIVES", "UPDATES", "compilation", "global_norm", "probe"]

KERNELS: dict[str, KernelPair] = {
    **activation.KERNELS,
    **conv2d.KERNELS,
    **attention.KERNELS,
    **gru.KERNELS,
    **lstm.KERNELS,
    **rnn.KERNELS,
    **pooling.KERNELS,
    **dropout.KERNELS,
    **embedding.KERNELS,
    **linear.KERNELS,
    **batch_norm.KERNELS,
    **row_norm.KERNELS,
    **softmax.KERNELS,
}

PRIMITIVES: dict[str, PrimitiveKernel] = {
    **activation.PRIMITIVES,
    **arithmetic.PRIMITIVES,
    **reduction.PRIMITIVES,
    **slicing.PRIMITIVES,
    **softmax.PRIMITIVES,
}


def probe() -> None:
    """Compile one kernel and run it.

    Raises
    ------
    ArithmeticError
        If the result is wrong.  Numba can raise any exception.
    """
    y = activation.relu(np.array([-1.0, 2.0], np.float32))
    if y.tolist() != [0, 2]:
        raise ArithmeticError(f"relu of [-1, 2] must be [0, 2]. Received: {y}")


def compilation() -> tuple[int, int, float]:
    """Return how many kernels are in use, how many came from the cache, and the seconds taken."""
    used = [kernel for kernel in arguments.kernels.values() if kernel.seconds]
    cached = sum(kernel.from_cache for kernel in used)
    return len(used), cached, sum(kernel.seconds for kernel in used)
