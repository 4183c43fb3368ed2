"""Where to look for doctests: not in files that import what this machine lacks (the extras)."""

import os
from importlib.util import find_spec

if "PYTEST_XDIST_WORKER" in os.environ:  # each core has a worker of its own
    os.environ.setdefault("NNLIB_NUM_THREADS", "1")

collect_ignore = []
if find_spec("cupy") is None:
    cupy_backend = "backends/nnlib_backends/cupy_backend"
    collect_ignore += [
        *(f"{cupy_backend}/{name}.py" for name in ("backend", "kernels/nvrtc", "namespace")),
        "tests/doubles/strict_backend/list_cupy_names.py",
    ]
if find_spec("numba") is None:
    collect_ignore += [
        "backends/nnlib_backends/numpy_backend/codegen",
        "backends/nnlib_backends/numpy_backend/kernels",
        "tests/backends/numpy_backend/codegen",
        "tests/backends/numpy_backend/kernels",
        "tests/backends/numpy_backend/test_launch.py",
    ]

peers = "benchmarks/nnlib_benchmarks/peers"
collect_ignore_glob = [
    f"{peers}/{package}_*.py"
    for package in ("torch", "jax", "sklearn")
    if find_spec(package) is None
]
