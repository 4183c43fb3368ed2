"""Matrix products by cuBLASLt, which a CUDA graph can capture (CuPy's own refuse it).

Nothing here imports CuPy; `load` is given it.
"""

from nnlib_backends.cupy_backend.products.load import import_cublaslt, make_products
from nnlib_backends.cupy_backend.products.products import Products

__all__ = ["Products", "import_cublaslt", "make_products"]
