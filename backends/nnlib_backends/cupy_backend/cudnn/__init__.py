"""Convolution and attention by cuDNN, described to its frontend as graphs.

Nothing here imports CuPy; what needs it is given it.
"""

from nnlib_backends.cupy_backend.cudnn.around import make_around
from nnlib_backends.cupy_backend.cudnn.load import make_kernels

__all__ = ["make_around", "make_kernels"]
