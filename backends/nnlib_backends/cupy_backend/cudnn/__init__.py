"""Convolution and attention by cuDNN's graphs; nothing here imports CuPy."""

from nnlib_backends.cupy_backend.cudnn.cudnn_kernels import make_kernels
from nnlib_backends.cupy_backend.cudnn.epilogue import make_epilogue

__all__ = ["make_epilogue", "make_kernels"]
