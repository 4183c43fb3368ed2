"""Making the `CublasGemm` of a GPU, with cuBLASLt if it is installed."""

from __future__ import annotations

from typing import Any

from nnlib_backends.cupy_backend.gemm.cublaslt import CublasLt
from nnlib_backends.cupy_backend.gemm.half_gemm import make_gemm
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm
from nnlib_backends.cupy_backend.gemm.tuning import CudaClock, Tuner, wanted
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

__all__ = ["import_cublaslt", "make_products"]


def import_cublaslt() -> Any:
    """Return ``nvmath.bindings.cublasLt``, or raise an exception of any type."""
    from nvmath.bindings import cublasLt

    cublasLt.get_version()  # loads the library
    return cublasLt


def make_products(bindings: Any, cupy: Any, device: Any, tf32: Any) -> CublasGemm:
    """Return the `CublasGemm` of one GPU.

    Parameters
    ----------
    bindings : module or None
        Result of `import_cublaslt`; ``None`` without cuBLASLt.
    cupy : module
    device : cupy.cuda.Device
    tf32 : callable
        Whether float32 products may be TF32 now.
    """
    workspaces: dict[int, Any] = {}

    def workspace(stream: int, nbytes: int) -> int:
        """Return a stream's own workspace, from no program's pool."""
        if stream not in workspaces:
            pool = cupy.get_default_memory_pool()
            with device, cupy.cuda.using_allocator(pool.malloc):
                workspaces[stream] = cupy.empty((nbytes,), dtype="uint8")
        return int(workspaces[stream].data.ptr)

    def pointer(array: Any) -> int:
        return int(array.data.ptr)

    tuner = _tuner(bindings, cupy, device) if bindings and wanted() else None
    return CublasGemm(
        CublasLt(bindings, workspace, tuner) if bindings else None,
        cupy,
        pointer=pointer,
        stream=lambda: int(cupy.cuda.get_current_stream().ptr),
        tf32=tf32,
        gemm=make_gemm(cupy.cuda, pointer),
    )


def _tuner(bindings: Any, cupy: Any, device: Any) -> Tuner:
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    choices = TuningCache("cublaslt", str(bindings.get_version()), name)
    return Tuner(choices, CudaClock(cupy, device))
