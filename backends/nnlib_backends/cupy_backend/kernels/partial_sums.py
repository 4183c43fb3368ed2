"""The last step of sums over rows: the sums of all chunks are added up."""

from __future__ import annotations

from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.cupy_backend.kernels.launch import Launcher

__all__ = ["two_sums"]


def two_sums(
    launcher: Launcher, parts: Array, first: Any, second: Any
) -> tuple[Array | None, Array | None]:
    """Add chunks up: (chunks, 2, D) → (D,), (D,).

    Parameters
    ----------
    launcher : Launcher
    parts : (chunks, 2, D)
    first, second : bool or (D,)
        Whether each sum is wanted, or where, see `KernelPair`.
    """
    chunks, _, columns = parts.shape
    if chunks == 1 and isinstance(first, bool) and isinstance(second, bool):
        return parts[0, 0] if first else None, parts[0, 1] if second else None
    one = launcher.home(first, (columns,), parts.dtype)
    other = launcher.home(second, (columns,), parts.dtype)
    launcher.columns(
        "epilogue", "two_sums", parts, one, other, columns,
        shape=(chunks, 2 * columns), chunks=1, like=parts,
    )  # fmt: skip
    return one, other
