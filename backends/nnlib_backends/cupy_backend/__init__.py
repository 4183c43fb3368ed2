"""The GPU: CuPy, with cuDNN for convolutions and attention.

Nothing of CuPy is imported before `load` is called.
"""

from __future__ import annotations

from nnlib_backends.base import Backend

__all__ = ["load"]


def load(device: int = 0) -> Backend:
    """Make the backend of one GPU; there is no fallback.

    Parameters
    ----------
    device : int
        Number of the GPU, as CUDA counts those that are visible.

    Raises
    ------
    BackendUnavailableError
        If the GPU cannot compute; says why, and what mends it.
    """
    from nnlib_backends.cupy_backend.probe import probe, refuse

    probe(device)
    try:
        from nnlib_backends.cupy_backend.backend import CupyBackend

        return CupyBackend(device)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user is told
        refuse(device, error)
