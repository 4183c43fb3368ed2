"""Convolution and attention by cuDNN, described to its frontend as graphs.

Nothing here imports CuPy; what needs it is given it.
"""

from nnlib_backends.cupy_backend.cudnn.cudnn_kernels import make_kernels
from nnlib_backends.cupy_backend.cudnn.epilogue import make_around

__all__ = ["make_around", "make_kernels"]
