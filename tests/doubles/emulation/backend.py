"""The strict backend with the emulated CUDA kernels."""

from typing import Any

import numpy as np
from strict_backend.arrays import StrictArray
from strict_backend.backend import StrictBackend

from emulation.driver import EmulatedDriver
from nnlib_backends import PrimitiveKernel, register_backend, registered_backends
from nnlib_backends.cupy_backend.gemm import CublasGemm, linear
from nnlib_backends.cupy_backend.kernels import cuda_kernels
from nnlib_backends.cupy_backend.kernels.launch import Launcher


class Poisoning:
    """The strict backend's namespace, with NaN in the memory of ``empty``."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def empty(self, shape: tuple[int, ...], dtype: Any = "float64") -> StrictArray:
        memory = np.empty(shape, dtype)
        memory.reshape(-1).view(np.uint8)[:] = 0xFF  # NaN; −1 in integers
        return StrictArray(memory)


class EmulatedBackend(StrictBackend):
    name = "emulated"

    def __init__(self) -> None:
        self.driver = EmulatedDriver()
        self.xp = Poisoning(StrictBackend.xp)
        self.launcher = launcher = Launcher(self.xp, self.driver)
        self.products = CublasGemm(None, self.xp, id, lambda: 0, lambda: False)  # without cuBLASLt
        general = StrictBackend.kernels
        self.own = cuda_kernels.make_kernels(launcher, general)
        self.own["linear"] = linear.make_linear(self.products, launcher, general["linear"])
        self.kernels = {**general, **self.own}
        self.primitives = {
            **cuda_kernels.make_primitives(launcher),
            "matmul": PrimitiveKernel(self.xp.matmul, half=True),
        }
        self.updates = cuda_kernels.make_updates(launcher)


def register() -> None:
    """Register the backend ``"emulated"``, once."""
    if "emulated" not in registered_backends():
        register_backend("emulated", lambda device: EmulatedBackend(), array_module="emulation")
