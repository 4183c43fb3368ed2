"""Source text and compiler options of the kernels."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from nnlib_backends.update_scalars import SCALARS

__all__ = ["FOLDER", "REALS", "files", "options", "source"]

FOLDER = Path(__file__).parent
REALS = {  #: dtype → its C++ type
    "float32": "float",
    "float64": "double",
    "float16": "half",
    "bfloat16": "bfloat16",
}
_INCLUDE = re.compile(r'^#include "(.+)"$\n', re.MULTILINE)
_PRAGMA_ONCE = "#pragma once\n"


def files() -> list[str]:
    """Names of the files with kernels, without the suffix.

    Examples
    --------
    >>> "cross_entropy" in files()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


@functools.cache
def source(file: str) -> str:
    """Return the text of a file with its headers in place of ``#include``.

    The text is the key of CuPy's cache on disk, which would not notice a changed header.

    Examples
    --------
    >>> "#include" in source("cross_entropy")
    False
    """
    seen: set[str] = set()

    def read(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        if name == "update_scalars.cuh":
            return "".join(
                f"struct {update}_scalars {{ real {', '.join(names)}; }};\n"
                for update, names in SCALARS.items()
            )
        text = (FOLDER / name).read_text(encoding="utf-8").replace(_PRAGMA_ONCE, "")
        return _INCLUDE.sub(lambda match: read(match[1]), text)

    return read(f"{file}.cu")


def options(dtype: str) -> tuple[str, ...]:
    """Return NVRTC's options for a dtype, except those that CuPy adds.

    CuPy adds ``--device-as-default-execution-space``, which makes functions without ``__device__``
    functions of the GPU; NVRTC before 12.9 refuses an option that is given twice.

    Examples
    --------
    >>> options("float64")
    ('--std=c++17', '-DREAL=double')
    """
    return "--std=c++17", f"-DREAL={REALS[dtype]}"
