"""CUDA C++ kernels, and what launches them.

Each ``.cu`` file stands beside the Python file that launches its kernels.  Nothing here imports
CuPy but `driver`: the launchers work on arrays of any namespace like CuPy's, through a `Driver`.
So the tests run them on the CPU, with the same ``.cu`` files.
"""

from __future__ import annotations

__all__: list[str] = []
