"""``conv2d`` by cuDNN, which plans a kernel for every shape; by patches where it has none."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import cupy
import numpy as np

from nnlib_backends.contract import Array, Kernel
from nnlib_backends.cupy_backend.cudnn_graph import (
    BIAS,
    DTYPES,
    FILTERS,
    IMAGE,
    RESULT,
    Problem,
    build,
)
from nnlib_backends.patches import with_activation
from nnlib_backends.precision import tf32_allowed

_OLDEST_CUDNN = 91900
_ALIGNMENT = 16  # bytes; cuDNN's kernels load 128 bits at a time


def import_cudnn() -> Any:
    """Return the cuDNN frontend, or ``None`` where it or a cuDNN that is new enough is missing."""
    try:
        import cudnn

        return cudnn if cudnn.backend_version() >= _OLDEST_CUDNN else None
    except (ImportError, OSError, RuntimeError):
        return None


def tf32_is_allowed() -> bool:
    """Tell whether float32 products may be TF32: if nobody said, CuPy's switch ``CUPY_TF32=1``."""
    allowed = tf32_allowed.get()
    if allowed is not None:
        return allowed
    from cupy._core import _routines_linalg as linalg

    return bool(linalg.get_compute_type(np.dtype(np.float32)) == linalg.COMPUTE_TYPE_TF32)


class Planner:
    """Plans and runs convolutions on one GPU.

    Parameters
    ----------
    cudnn : module
        The frontend.
    device : cupy.cuda.Device
        The GPU.
    """

    def __init__(self, cudnn: Any, device: Any) -> None:
        self._cudnn = cudnn
        self._device = device
        self._handle: Any = None
        self._plans: dict[Problem, Any] = {}
        self._lock = threading.Lock()  # a handle serves one thread at a time

    def run(self, problem: Problem, buffers: Mapping[int, Array]) -> bool:
        """Compute a problem; the array of its output is overwritten.

        Returns
        -------
        bool
            False if cuDNN has no kernel for it, and nothing was done.
        """
        with self._lock, self._device:
            if self._handle is None:
                self._handle = self._cudnn.create_handle()
            if problem not in self._plans:
                self._plans[problem] = self._plan(problem)
            graph = self._plans[problem]
            if graph is None:
                return False
            workspace = cupy.empty(max(graph.get_workspace_size(), 1), dtype=np.uint8)
            self._cudnn.set_stream(self._handle, cupy.cuda.get_current_stream().ptr)
            pointers = {uid: _pointer(array) for uid, array in buffers.items()}
            graph.execute(pointers, _pointer(workspace), handle=self._handle)
        return True

    def _plan(self, problem: Problem) -> Any:
        try:
            return build(self._cudnn, problem, handle=self._handle)
        except self._cudnn.cudnnGraphNotSupportedError:
            return None


class CudnnConvolution:
    """The kernel: what cuDNN does not do is left to another one.

    Parameters
    ----------
    planner : Planner
    fallback : Kernel
        ``conv2d`` of the same signature, whose `backward` needs nothing saved.
    """

    def __init__(self, planner: Planner, fallback: Kernel) -> None:
        self._planner = planner
        self._fallback = fallback

    def forward(
        self, x: Array, weight: Array, bias: Array | None, **options: Any
    ) -> tuple[Array, None]:
        """(N, H, W, C) → (N, H', W', O)."""
        problem = _problem("forward", x, weight, bias, options)
        if problem is not None:
            y = cupy.empty(problem.result, dtype=x.dtype)
            buffers = {IMAGE: _aligned(x), FILTERS: _aligned(weight), RESULT: y}
            if bias is not None:
                buffers[BIAS] = _aligned(bias)
            if self._planner.run(problem, buffers):
                return y, None
        return self._fallback.forward(x, weight, bias, **options)

    def backward(
        self,
        g: Array,
        saved: None,
        needs: Sequence[bool],
        x: Array,
        weight: Array,
        bias: Array | None,
        **options: Any,
    ) -> tuple[Array | None, ...]:
        """Gradients by image, filters and bias."""
        g = _aligned(g)
        dx = self._gradient("image", g, x, weight, options) if needs[0] else None
        dw = self._gradient("filters", g, x, weight, options) if needs[1] else None
        db = g.sum(axis=(0, 1, 2)) if len(needs) > 2 and needs[2] else None
        missing = (needs[0] and dx is None, needs[1] and dw is None, False)
        if any(missing):
            rest = self._fallback.backward(g, None, missing, x, weight, bias, **options)
            dx, dw = (rest[0] if missing[0] else dx), (rest[1] if missing[1] else dw)
        return dx, dw, db

    def _gradient(
        self, direction: str, g: Array, x: Array, weight: Array, options: dict[str, Any]
    ) -> Array | None:
        problem = _problem(direction, x, weight, None, options)
        if problem is None or g.dtype != x.dtype:
            return None
        if direction == "image":
            output = cupy.empty(x.shape, dtype=x.dtype)
            buffers = {RESULT: g, FILTERS: _aligned(weight), IMAGE: output}
        else:
            output = cupy.empty(weight.shape, dtype=x.dtype)
            buffers = {RESULT: g, IMAGE: _aligned(x), FILTERS: output}
        return output if self._planner.run(problem, buffers) else None


def make_kernel(planner: Planner, fallback: Kernel) -> Kernel:
    """Return cuDNN's ``conv2d``, with another kernel for what cuDNN does not do."""
    convolution = CudnnConvolution(planner, fallback)
    return with_activation(cupy, Kernel(convolution.forward, convolution.backward))


def _problem(
    direction: str, x: Array, weight: Array, bias: Array | None, options: dict[str, Any]
) -> Problem | None:
    """Describe the problem, or return ``None`` if it is none for cuDNN."""
    dtype = x.dtype.name
    others = (weight.dtype,) if bias is None else (weight.dtype, bias.dtype)
    if dtype not in DTYPES or any(other != x.dtype for other in others):
        return None
    stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
    height, width = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(
            x.shape[1:3], weight.shape[1:3], stride, padding, dilation, strict=True
        )
    )
    result = (x.shape[0], height, width, weight.shape[0])
    if 0 in (*x.shape, *weight.shape, *result):
        return None
    return Problem(
        direction, x.shape, weight.shape, result, dtype, bias is not None, stride, padding,
        dilation, tf32=dtype == "float32" and tf32_is_allowed(),
    )  # fmt: skip


def _aligned(array: Array) -> Array:
    """Return an array that is contiguous and begins where cuDNN may load from.

    A view into a flat buffer of parameters can begin at any element.
    """
    array = cupy.ascontiguousarray(array)
    return array.copy() if _pointer(array) % _ALIGNMENT else array


def _pointer(array: Array) -> int:
    return int(array.data.ptr)
