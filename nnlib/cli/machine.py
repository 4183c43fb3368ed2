"""Description of the machine: processor, BLAS, memory, system, versions, settings."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import nnlib

__all__ = ["blas_libraries", "git_commit", "machine_facts", "version_of"]

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


def machine_facts() -> dict[str, Any]:
    """Return the facts for a bug report or a measurement, without personal names.

    Examples
    --------
    >>> machine_facts()["cores"] >= 1
    True
    """
    import psutil

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": nnlib.backend_info("numpy")["name"],
        "cores": psutil.cpu_count(logical=False) or threads or 1,
        "threads": threads or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "blas": blas_libraries(),
        "packages": {name: v for name in PACKAGES if (v := version_of(name))},
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "nnlib_version": nnlib.__version__,
        "git_commit": git_commit(Path(nnlib.__file__).parent),
    }


def blas_libraries() -> list[dict[str, Any]]:
    """List the BLAS libraries loaded in this process, NumPy's first."""
    from threadpoolctl import threadpool_info

    np.dot(np.ones(2), np.ones(2))  # a BLAS that loads lazily is loaded now
    return [
        {
            "name": str(pool["internal_api"]),
            "version": str(pool.get("version")),
            "threads": int(pool["num_threads"]),
            "architecture": str(pool.get("architecture") or ""),
            "library": Path(pool["filepath"]).name,
        }
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

    ``None`` for an installed nnlib, also where site-packages lies inside another repository.
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
