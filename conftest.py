"""Where to look for doctests: not in files that import CuPy, on machines without it."""

from importlib.util import find_spec

collect_ignore = []
if find_spec("cupy") is None:
    cupy_backend = "backends/nnlib_backends/cupy_backend"
    collect_ignore = [
        *(f"{cupy_backend}/{name}.py" for name in ("backend", "convolution", "namespace")),
        "tests/strict_backend/list_cupy_names.py",
    ]
