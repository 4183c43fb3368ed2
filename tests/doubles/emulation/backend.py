"""A backend whose arrays behave as CuPy's do, and whose kernels are the GPU's, emulated."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from strict_backend.arrays import StrictArray
from strict_backend.backend import StrictBackend

from emulation.driver import EmulatedDriver
from nnlib_backends import register_backend, registered_backends
from nnlib_backends.common.fused import into_targets
from nnlib_backends.cupy_backend.gemm import CublasGemm, linear
from nnlib_backends.cupy_backend.kernels import cuda_kernels
from nnlib_backends.cupy_backend.kernels import gradient_norm as gradients
from nnlib_backends.cupy_backend.kernels.launch import Launcher


class Poisoning:
    """The namespace of the strict backend, whose new memory holds NaN."""

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
    writes_gradients = True
    mixed = cuda_kernels.MIXED | linear.MIXED
    adds = linear.ADDS
    skips_updates = True

    def __init__(self) -> None:
        self.driver = EmulatedDriver()
        self.xp = Poisoning(StrictBackend.xp)
        self.launcher = launcher = Launcher(self.xp, self.driver)
        self.products = CublasGemm(None, self.xp, id, lambda: 0, lambda: False)  # without cuBLASLt
        general = {name: into_targets(kernel) for name, kernel in StrictBackend.kernels.items()}
        self.own = cuda_kernels.make_kernels(launcher, general)
        self.own["linear"] = linear.make_linear(self.products, launcher, general["linear"])
        self.kernels = {**general, **self.own}
        self.primitives = cuda_kernels.make_primitives(launcher)
        self.updates = cuda_kernels.make_updates(launcher)

    def global_norm(self, arrays: Sequence[StrictArray]) -> StrictArray | None:
        return gradients.global_norm(self.launcher, arrays)

    def shrink(self, arrays: Sequence[StrictArray], norm: StrictArray, limit: float) -> bool:
        return gradients.shrink(self.launcher, arrays, norm, limit)

    def unscale(
        self, arrays: Sequence[StrictArray], scale: StrictArray, found: StrictArray
    ) -> bool:
        return gradients.unscale(self.launcher, arrays, scale, found)


def register() -> None:
    """Make ``"emulated"`` known, once."""
    if "emulated" not in registered_backends():
        register_backend("emulated", lambda device: EmulatedBackend(), array_module="emulation")
