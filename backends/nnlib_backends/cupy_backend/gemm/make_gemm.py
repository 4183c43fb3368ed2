"""Making the products of a GPU, with cuBLASLt if what it needs is installed."""

from __future__ import annotations

from typing import Any

from nnlib_backends.cupy_backend.gemm.cublaslt import CublasLt
from nnlib_backends.cupy_backend.gemm.half_gemm import make_gemm
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm
from nnlib_backends.cupy_backend.gemm.tuning import CudaClock, Tuner, wanted
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

__all__ = ["import_cublaslt", "make_products"]


def import_cublaslt() -> Any:
    """Return ``nvmath.bindings.cublasLt``; raises an exception of any kind where it is missing."""
    from nvmath.bindings import cublasLt

    cublasLt.get_version()  # loads the library
    return cublasLt


def make_products(bindings: Any, cupy: Any, device: Any, tf32: Any) -> CublasGemm:
    """Return the products of one GPU.

    Parameters
    ----------
    bindings : module or None
        What `import_cublaslt` has returned; ``None`` where it raised an exception.
    cupy : module
    device : cupy.cuda.Device
    tf32 : callable
        Whether float32 products may be TF32 now.
    """
    workspaces: dict[int, Any] = {}

    def workspace(stream: int, nbytes: int) -> int:
        """Streams work at the same time, so each has its own; from no recording's pool."""
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
