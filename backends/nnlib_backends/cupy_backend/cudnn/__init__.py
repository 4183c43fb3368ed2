"""Convolution and attention by cuDNN, described to its frontend as graphs.

Nothing here imports CuPy; what needs it is given it.
"""

from nnlib_backends.cupy_backend.cudnn.convolution import Around
from nnlib_backends.cupy_backend.cudnn.load import make_kernels

__all__ = ["Around", "make_kernels"]
