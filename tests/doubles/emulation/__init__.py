"""The CUDA kernels of the CuPy backend on the CPU, and a backend that computes with them."""

from emulation.backend import EmulatedBackend, register
from emulation.build import library, missing_compiler
from emulation.driver import EmulatedDriver, launch

__all__ = [
    "EmulatedBackend",
    "EmulatedDriver",
    "launch",
    "library",
    "missing_compiler",
    "register",
]
