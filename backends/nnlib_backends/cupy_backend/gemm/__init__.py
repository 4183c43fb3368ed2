"""Matrix products by cuBLASLt, which a CUDA graph can capture (CuPy's own refuse it).

Nothing here imports CuPy; `load` is given it.
"""

from nnlib_backends.cupy_backend.gemm.make_gemm import import_cublaslt, make_products
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm

__all__ = ["CublasGemm", "import_cublaslt", "make_products"]
