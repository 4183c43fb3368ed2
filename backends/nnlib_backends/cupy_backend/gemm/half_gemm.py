"""GEMM of half matrices with a float32 result, by the cuBLAS that CuPy loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.gemm.cublaslt import COMPUTE_32F, TYPES
from nnlib_backends.cupy_backend.gemm.layout import operand

__all__ = ["Gemm", "make_gemm"]

_DEFAULT = -1  # cublasGemmAlgo_t

Gemm = Callable[[Array, Array, Array], None]


def make_gemm(cuda: Any, pointer: Callable[[Array], int]) -> Gemm:
    """Return ``gemm(a, b, out)``, whose result `cupy.matmul` would round to 16 bits.

    ``a`` and ``b`` are of one half dtype, ``out`` of float32, and none is empty; their layouts are
    those of `layout.operand`.

    Parameters
    ----------
    cuda : module
        ``cupy.cuda``.
    pointer : callable
        Address of an array's first element.
    """
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)  # read by the host during the call

    def gemm(a: Array, b: Array, out: Array) -> None:
        # cuBLAS's matrices are column-major: outᵀ = bᵀ·aᵀ
        (_, inner), columns = a.shape, b.shape[1]
        (across_b, ld_b), (across_a, ld_a), (_, ld) = map(_layout, (b, a, out))
        kind = TYPES[a.dtype.name]
        cuda.cublas.gemmEx(
            cuda.device.get_cublas_handle(), int(across_b), int(across_a),
            columns, a.shape[0], inner,
            one.ctypes.data, pointer(b), kind, ld_b, pointer(a), kind, ld_a,
            zero.ctypes.data, pointer(out), TYPES[out.dtype.name], ld,
            COMPUTE_32F, _DEFAULT,
        )  # fmt: skip

    return gemm


def _layout(x: Array) -> tuple[bool, int]:
    found = operand(x.shape, [stride // x.dtype.itemsize for stride in x.strides])
    assert found is not None
    return found
