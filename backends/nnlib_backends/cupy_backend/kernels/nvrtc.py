"""Launching by CuPy: NVRTC compiles a file when its first kernel is launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from nnlib_backends.cupy_backend.kernels.launch import THREADS
from nnlib_backends.cupy_backend.kernels.sources import options, source

__all__ = ["CudaDriver"]

_NULL = np.uintp(0)


class CudaDriver:
    """Compiles and launches kernels on the thread's current device; CuPy caches them on disk.

    A driver serves one device, because loaded kernels do.
    """

    def __init__(self) -> None:
        self._modules: dict[tuple[str, str], Any] = {}
        self._kernels: dict[tuple[str, str, str], Any] = {}

    def launch(
        self, file: str, kernel: str, dtype: str, grid: tuple[int, int], args: Sequence[Any]
    ) -> None:
        """Start a kernel, see `Driver`."""
        function = self._kernels.get((file, kernel, dtype))
        if function is None:
            function = self._load(file, kernel, dtype)
        function(grid, (THREADS,), tuple(map(_argument, args)))

    def address(self, array: Any) -> int:
        """Return the address of an array, see `Driver`."""
        return int(array.data.ptr)

    def _load(self, file: str, kernel: str, dtype: str) -> Any:
        module = self._modules.get((file, dtype))
        if module is None:
            module = cupy.RawModule(code=source(file), options=options(dtype), backend="nvrtc")
            self._modules[file, dtype] = module
        function = self._kernels[file, kernel, dtype] = module.get_function(kernel)
        return function


def _argument(value: Any) -> Any:
    """Convert a Python number to a NumPy scalar, whose size CuPy keeps."""
    if value is None:
        return _NULL
    if isinstance(value, int):
        return np.int64(value)
    return np.float64(value) if isinstance(value, float) else value
