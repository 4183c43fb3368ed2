"""What a number was measured on: processor, BLAS, memory, system, versions, settings."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

import nnlib
from nnlib_benchmarks.records import Blas, Machine

PACKAGES = (
    "numpy", "scipy", "cupy", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-frontend",
    "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "threadpoolctl",
)  # fmt: skip

ENVIRONMENT = (
    "NNLIB_BACKEND", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE", "OPENBLAS_THREAD_TIMEOUT", "MKL_NUM_THREADS", "GOTO_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "KMP_AFFINITY", "KMP_BLOCKTIME", "NPY_DISABLE_CPU_FEATURES",
    "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUPY_TF32", "CUPY_ACCELERATORS",
    "CUPY_GPU_MEMORY_LIMIT", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip
"""Environment variables that change how fast something runs."""


def describe_machine(gpus: Sequence[str] = ()) -> Machine:
    """Take down everything that a reader needs to judge a number, and nothing that names a person.

    Parameters
    ----------
    gpus : sequence of str
        Names of the GPUs that take part.

    Examples
    --------
    >>> describe_machine().cores >= 1
    True
    """
    import psutil

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(
        cpu=nnlib.backend_info("numpy")["name"],
        cores=psutil.cpu_count(logical=False) or threads or 1,
        threads=threads or 1,
        memory_bytes=psutil.virtual_memory().total,
        gpus=list(gpus),
        system=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        blas=blas_libraries(),
        packages={name: v for name in PACKAGES if (v := version_of(name))},
        environment={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        nnlib_version=nnlib.__version__,
        git_commit=git_commit(Path(nnlib.__file__).parent),
    )


class CpuMeter:
    """Measures what share of the processor others use, from its making on.

    Examples
    --------
    >>> 0 <= CpuMeter().used_by_others() <= 1
    True
    """

    def __init__(self) -> None:
        self._all, self._busy, self._own = self._read()

    def used_by_others(self) -> float:
        """Return the share so far, 0 to 1: what was used, less what this run used."""
        total, busy, own = self._read()
        others = (busy - self._busy) - (own - self._own)
        return min(1.0, max(0.0, others / max(total - self._all, 1e-9)))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds of all processors so far: in all, not idle, in this process and its children."""
        import psutil

        system, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = system.idle + getattr(system, "iowait", 0.0)
        # guest time is part of user time already
        total = sum(system) - getattr(system, "guest", 0.0) - getattr(system, "guest_nice", 0.0)
        return total, total - idle, sum(own[:4])  # user, system, and both of ended children


def blas_libraries() -> list[Blas]:
    """List the BLAS libraries loaded in this process, NumPy's first."""
    from threadpoolctl import threadpool_info

    np.dot(np.ones(2), np.ones(2))  # a BLAS that loads lazily is loaded now
    return [
        Blas(
            name=str(pool["internal_api"]),
            version=str(pool.get("version")),
            threads=int(pool["num_threads"]),
            architecture=str(pool.get("architecture") or ""),
            library=Path(pool["filepath"]).name,
        )
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, or ``None``."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that tracks `folder`, with ``+changes`` if it was edited since.

    ``None`` for an installed nnlib, also where site-packages lies inside somebody else's
    repository.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "-uno") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
