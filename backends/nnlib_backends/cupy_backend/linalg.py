"""``xp.linalg`` with decompositions on the host.

CuPy's need cuSOLVER and cuSPARSE, 500 to 750 MB that nothing else here uses.  nnlib decomposes
matrices only to draw initial weights and to store patterns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["HostLinalg"]


class HostLinalg:
    """``xp.linalg``: two functions by NumPy, the others CuPy's.

    Parameters
    ----------
    xp : namespace
    others : namespace
        ``cupy.linalg``.
    """

    def __init__(self, xp: Any, others: Any) -> None:
        self._xp, self._others = xp, others

    def qr(self, a: Any) -> tuple[Any, Any]:
        """Return an orthogonal and a triangular matrix."""
        q, r = np.linalg.qr(a.get())
        return self._xp.asarray(q), self._xp.asarray(r)

    def svd(self, a: Any, full_matrices: bool = True) -> tuple[Any, Any, Any]:
        """Return the singular vectors and values."""
        u, s, vh = np.linalg.svd(a.get(), full_matrices=full_matrices)
        return self._xp.asarray(u), self._xp.asarray(s), self._xp.asarray(vh)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)
