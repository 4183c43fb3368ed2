"""The CuPy backend of one GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import cupy
import numpy as np

from nnlib_backends.base import (
    Array,
    Backend,
    DeviceInfo,
    Inputs,
    KernelPair,
    MemoryInfo,
    PrimitiveKernel,
    Timer,
)
from nnlib_backends.common import attention, fused, im2col, recurrent
from nnlib_backends.cupy_backend import cudnn, namespace
from nnlib_backends.cupy_backend.gemm import import_cublaslt, linear, make_products
from nnlib_backends.cupy_backend.graph import GraphTracer
from nnlib_backends.cupy_backend.graph.cuda import CudaGraphs
from nnlib_backends.cupy_backend.graph.inputs import CudaInputs
from nnlib_backends.cupy_backend.kernels import cuda_kernels
from nnlib_backends.cupy_backend.kernels.launch import Launcher
from nnlib_backends.cupy_backend.kernels.nvrtc import CudaDriver
from nnlib_backends.cupy_backend.optional import attempt, driver_version
from nnlib_backends.cupy_backend.probe import install_all
from nnlib_backends.cupy_backend.tf32 import tf32_is_allowed
from nnlib_backends.interop import detached, is_foreign, on_host
from nnlib_backends.registry import owner_of

#: Memory for a block of im2col windows; large, because large GEMMs are faster on a GPU.
_BLOCK_BYTES = 256 << 20


class CupyBackend(Backend):
    """Arrays in the memory of one GPU.

    Parameters
    ----------
    device : int
        Number of the GPU.  No method changes the thread's current device.
    """

    array_type = cupy.ndarray

    def __init__(self, device: int = 0) -> None:
        self.name = f"cupy:{device}" if device else "cupy"
        self.number = device
        self.device = cupy.cuda.Device(device)
        if device:
            self.scope = self.device
        self.xp: Any = namespace.DeviceNamespace(self.device) if device else namespace
        bindings, no_cublaslt = attempt(import_cublaslt)
        self._has_cublaslt = bindings is not None
        self.products = make_products(bindings, cupy, self.device, tf32_is_allowed)
        namespace.products[device] = self.products
        kernels = {
            **fused.make_kernels(self.xp),
            **im2col.make_kernels(self.xp, block_bytes=_BLOCK_BYTES),
            **recurrent.make_kernels(self.xp),
            **attention.make_kernels(self.xp),
        }
        launcher = Launcher(self.xp, CudaDriver())
        kernels |= cuda_kernels.make_kernels(launcher, kernels)
        kernels["linear"] = linear.make_linear(self.products, launcher, kernels["linear"])
        by_cudnn, self.cudnn_version, no_cudnn = cudnn.make_kernels(
            cupy, self.device, self.xp, kernels, cudnn.make_epilogue(launcher)
        )
        kernels |= by_cudnn
        self.kernels: Mapping[str, KernelPair] = kernels
        self.primitives = {
            **cuda_kernels.make_primitives(launcher),
            "matmul": PrimitiveKernel(self.xp.matmul, half=True),
        }
        self.updates = cuda_kernels.make_updates(launcher)
        self._missing = {"nvmath-python": no_cublaslt, "nvidia-cudnn-frontend": no_cudnn}

    def asarray(self, obj: Any, dtype: Any = None, *, copy: bool | None = None) -> Array:
        """Convert to an array on this GPU.

        Parameters
        ----------
        obj : array, number or nested sequence
            Of any library; data on a GPU (CuPy, DLPack) does not pass through the host.
        dtype : dtype, optional
            Convert to it.
        copy : bool, optional
            ``True``: always copy.  ``None``: only if needed.  ``False``: never.

        Raises
        ------
        ValueError
            If ``copy=False`` and a copy is needed.
        """
        with self.device:
            if not isinstance(obj, cupy.ndarray):
                obj = _from_elsewhere(obj)
            if copy is False and not self.owns(obj):
                raise ValueError(f"other data cannot get to {self.name!r} without a copy")
            if copy is False and dtype is not None and np.dtype(dtype) != obj.dtype:
                raise ValueError(f"{obj.dtype} cannot become {np.dtype(dtype)} without a copy")
            return cupy.array(obj, dtype=dtype, copy=True if copy else None)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Copy to the host, after all work in the array's stream."""
        result: np.ndarray[Any, Any] = array.get()
        return result

    def owns(self, array: Any) -> bool:
        """Tell whether an array lives on this GPU."""
        return isinstance(array, cupy.ndarray) and array.data.device_id == self.number

    def synchronize(self) -> None:
        """Wait until the GPU has finished all submitted work."""
        self.device.synchronize()

    @cached_property
    def _graphs(self) -> CudaGraphs:
        return CudaGraphs(cupy, self.device)

    @cached_property
    def _copying(self) -> Any:
        """The stream that copies arguments of compiled functions from the host."""
        with self.device:
            return cupy.cuda.Stream(non_blocking=True)

    def tracer(self) -> GraphTracer | None:
        """Return a tracer; None without cuBLASLt, for CuPy's own GEMM cannot be captured."""
        return GraphTracer(self._graphs) if self._has_cublaslt else None

    def inputs(self, arrays: Sequence[Array]) -> Inputs:
        """Return an object that copies values from the host while the previous step runs."""
        return CudaInputs(self, arrays, cupy, self.device, self._copying)

    def timer(self) -> Timer:
        """Return a timer of this GPU."""
        return CudaTimer(self.device)

    def device_info(self) -> DeviceInfo:
        """Describe the GPU, its driver and CUDA's libraries."""
        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(self.number)
        libraries = {
            "cupy": cupy.__version__,
            "cuda_runtime": _dotted(runtime.runtimeGetVersion()),
            "cublas": self._cublas_version(),
        }
        driver, no_nvml = attempt(driver_version)
        reasons = {**self._missing, "nvidia-ml-py": no_nvml}
        missing = {package: reason for package, reason in reasons.items() if reason}
        if self.cudnn_version:
            libraries["cudnn"] = self.cudnn_version
        return DeviceInfo(
            kind="gpu",
            name=properties["name"].decode(),
            cores=properties["multiProcessorCount"],
            memory_bytes=properties["totalGlobalMem"],
            libraries=libraries,
            details={
                "compute_capability": f"{properties['major']}.{properties['minor']}",
                "pci_bus_id": self.device.pci_bus_id,
                "driver": driver,
                "driver_cuda": _dotted(runtime.driverGetVersion()),
                "float32_precision": "TF32" if tf32_is_allowed() else "FP32",
                "convolution": "cudnn" if self.cudnn_version else "im2col and cublas",
                "products": "cublaslt" if self._has_cublaslt else "cublas",
                "compiled steps": "one CUDA graph" if self._has_cublaslt else "not captured",
            },
            missing=missing,
            remedy=install_all() if missing else "",
        )

    def _cublas_version(self) -> str:
        with self.device:
            number = cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle())
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def memory_info(self) -> MemoryInfo:
        """Memory in use, peak and free memory, including the pools of programs.

        The peak is the memory that the pools have allocated since the last `reset_peak_memory`,
        because CuPy's pool does not measure a peak of the memory in use.
        """
        with self.device:
            pool = cupy.get_default_memory_pool()
            programs = self._graphs.nbytes
            return MemoryInfo(
                used=pool.used_bytes() + programs,
                peak=pool.total_bytes() + programs,
                free=cupy.cuda.runtime.memGetInfo()[0],
                cached=pool.free_bytes(),
            )

    def memory_of(self, array: Array) -> tuple[Any, int]:
        """Return the address of the array's block in its pool, and the block's size."""
        return int(array.data.mem.ptr), int(array.data.mem.size)

    def reset_peak_memory(self) -> None:
        """Free unused memory, so that the pool grows anew to its next peak."""
        self.release_memory()

    def release_memory(self) -> None:
        """Free the pools' unused blocks, on the GPU and on the host."""
        if self._graphs.capturing:
            return  # synchronizing would end the capture
        with self.device:
            self.device.synchronize()
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()


class CudaTimer(Timer):
    """Time between two events in the current stream of a GPU."""

    def __init__(self, device: Any) -> None:
        self._device = device
        with device:
            self._first, self._second = cupy.cuda.Event(), cupy.cuda.Event()

    def start(self) -> None:
        """Mark the first point in the stream."""
        with self._device:
            self._first.record()

    def stop(self) -> None:
        """Mark the second point in the stream."""
        with self._device:
            self._second.record()

    def seconds(self) -> float:
        """Wait for the second event and return the time since the first."""
        self._second.synchronize()
        return float(cupy.cuda.get_elapsed_time(self._first, self._second)) / 1000


def _from_elsewhere(obj: Any) -> Any:
    """Convert an object to an array that CuPy accepts, on the GPU if its data are there."""
    owner = owner_of(obj)
    if owner is not None:
        return owner.to_numpy(obj) if not isinstance(obj, np.ndarray) else obj
    obj = detached(obj)
    if hasattr(obj, "__dlpack_device__") and obj.__dlpack_device__()[0] == 2:  # kDLCUDA
        return cupy.from_dlpack(obj)
    if is_foreign(obj) and not hasattr(obj, "__cuda_array_interface__"):
        return on_host(obj)
    return obj


def _dotted(number: int) -> str:
    """12090 → '12.9'."""
    return f"{number // 1000}.{number % 1000 // 10}"
