"""The CuPy backend: CUDA GPUs, with cuBLASLt, cuDNN and nnlib's own kernels.

CuPy is imported by `load` only.
"""

from __future__ import annotations

from nnlib_backends.base import Backend

__all__ = ["load"]


def load(device: int = 0) -> Backend:
    """Make the backend of one GPU; there is no fallback.

    Parameters
    ----------
    device : int
        Number of the GPU among those that CUDA shows.

    Raises
    ------
    BackendUnavailableError
        If the GPU cannot be used; with the reason and a fix.
    """
    from nnlib_backends.cupy_backend.probe import probe, refuse

    probe(device)
    try:
        from nnlib_backends.cupy_backend.backend import CupyBackend

        return CupyBackend(device)
    except Exception as error:  # noqa: BLE001 - any error becomes a BackendUnavailableError
        refuse(device, error)
