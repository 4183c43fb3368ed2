"""CUDA C++ kernels: a ``.cu`` file beside each Python file that launches its kernels.

Only `nvrtc` imports CuPy.  The launchers use a `Driver` and the arrays of any namespace like
CuPy's, so the tests run them and the same ``.cu`` files on the CPU.
"""

from __future__ import annotations

__all__: list[str] = []
