"""The NumPy backend."""

from nnlib_backends.numpy_backend.backend import NumpyBackend

__all__ = ["NumpyBackend"]
