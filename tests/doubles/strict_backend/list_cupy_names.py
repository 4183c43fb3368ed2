"""Write ``cupy_names.txt``: CuPy's names out of NumPy's, with parameters and dtypes.

Run it where CuPy is installed; no GPU is needed::

    python -m venv cupy-venv && cupy-venv/bin/pip install 'cupy-cuda12x==14.*' scipy ml_dtypes
    cd tests/strict_backend
    ../../cupy-venv/bin/python list_cupy_names.py > cupy_names.txt

Each line is ``name kind keywords``.  Kinds: ``function`` (``**`` for keywords that are not in the
signature), ``ufunc``, ``type`` (a dtype or another class), ``constant`` and ``method`` (of ndarray;
the name begins with a dot).  ``ufunc``, and ``loops`` for a ufunc inside a function, are followed
by the loops in the order in which CuPy tries them, E for bfloat16.
"""

import inspect
import re
import types

import cupy
import numpy
from cupy._core import _routines_math, core
from cupy._sorting import search
from cupyx.scipy import special

SUBMODULES = ("linalg",)
INSIDE = {
    "clip": _routines_math.clip,
    "erf": special.erf,
    "ndtr": special.ndtr,
    "round": core._round_ufunc,
    "where": search._where_ufunc,
}
KEYWORDS = {
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
}


def describe(item: object) -> str:
    if isinstance(item, cupy.ufunc):
        return " ".join(["ufunc", *item.types])
    if isinstance(item, type):
        return "type"
    if not callable(item):
        return "constant"
    try:
        parameters = inspect.signature(item).parameters.values()
    except (TypeError, ValueError):  # compiled, without a signature
        return "function **"
    names = ["**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters if p.kind in KEYWORDS]
    return " ".join(["function", *names])


def methods() -> list[str]:
    """Read the parameters from the first line of the docstring, where Cython leaves them."""
    lines = []
    for name in sorted(dir(cupy.ndarray)):
        doc = getattr(getattr(cupy.ndarray, name), "__doc__", None) or ""
        found = re.match(rf"_ndarray_base\.{name}\(self(?:, )?([^)]*)\)", doc)
        if found is None or name.startswith("_") or not hasattr(numpy.ndarray, name):
            continue
        parameters = [part.partition("=")[0].split()[-1] for part in found[1].split(",") if part]
        lines.append(" ".join([f".{name} method", *(p for p in parameters if p[0] != "*")]))
    return lines


def main() -> None:
    print(
        f"# CuPy {cupy.__version__}; made by list_cupy_names.py, which says how and what it means"
    )
    for prefix in ("", *SUBMODULES):
        theirs = getattr(cupy, prefix) if prefix else cupy
        ours = getattr(numpy, prefix) if prefix else numpy
        for name in sorted(vars(theirs)):
            item = getattr(theirs, name)
            if (
                name.startswith("_")
                or isinstance(item, types.ModuleType)
                or not hasattr(ours, name)
            ):
                continue
            print(f"{prefix}.{name}" if prefix else name, describe(item))
    for name, ufunc in INSIDE.items():
        print(name, "loops", *ufunc.types)
    print("\n".join(methods()))


if __name__ == "__main__":
    main()
