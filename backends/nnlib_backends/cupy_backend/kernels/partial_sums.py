"""Last step of sums over rows: adding up the sums of all chunks."""

from __future__ import annotations

from nnlib_backends.base import Array, GradOut
from nnlib_backends.cupy_backend.kernels.launch import Launcher

__all__ = ["two_sums"]


def two_sums(
    launcher: Launcher, parts: Array, first: GradOut | None, second: GradOut | None
) -> tuple[Array | None, Array | None]:
    """Add chunks up: (chunks, 2, D) → (D,), (D,).

    Parameters
    ----------
    launcher : Launcher
    parts : (chunks, 2, D)
    first, second : GradOut or None
        Where each sum goes, if it is needed.
    """
    chunks, _, columns = parts.shape
    if chunks == 1 and all(out is None or out.array is None for out in (first, second)):
        return parts[0, 0] if first else None, parts[0, 1] if second else None
    one = launcher.grad_memory(first, (columns,), parts.dtype)
    other = launcher.grad_memory(second, (columns,), parts.dtype)
    launcher.columns(
        "epilogue", "two_sums", parts, one, other, columns,
        shape=(chunks, 2 * columns), chunks=1, like=parts,
    )  # fmt: skip
    return one, other
