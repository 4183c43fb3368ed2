"""GEMM by cuBLASLt, which unlike CuPy's a CUDA graph can capture; nothing here imports CuPy."""

from nnlib_backends.cupy_backend.gemm.make_gemm import import_cublaslt, make_products
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm

__all__ = ["CublasGemm", "import_cublaslt", "make_products"]
