"""Compiling the ``.cu`` files for the CPU, cached by their content."""

import ctypes
import functools
import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from nnlib_backends.cupy_backend.kernels.sources import REALS, source

HEADER = Path(__file__).with_name("emulation.h")
OPTIONS = (
    "-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-U_FORTIFY_SOURCE",
    "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Wno-unknown-pragmas",
    "-Werror",
)  # fmt: skip
_KERNEL = re.compile(r"__global__ void __launch_bounds__\(THREADS, BLOCKS\) (\w+)\(")
_folder = Path(tempfile.gettempdir())  # the default of `keep_in`


def missing_compiler() -> str:
    """Return why kernels cannot be emulated here; empty if they can."""
    if not shutil.which("g++"):
        return "there is no g++ to compile the CUDA kernels for the CPU"
    if platform.system() != "Linux":
        return "the emulation of CUDA kernels needs Linux's linker"
    return ""


def keep_in(folder: Path) -> None:
    """Set the folder of compiled kernels."""
    global _folder
    _folder = folder


@functools.cache
def kernels_in(file: str) -> tuple[str, ...]:
    """Return the names of a file's kernels, also of those that macros define."""
    text = _gpp(source(file), "-E", "-P", "-DREAL=float", "-o", "-")
    return tuple(_KERNEL.findall(text))


@functools.cache
def library(file: str, dtype: str) -> ctypes.CDLL:
    """Compile a file for a dtype, unless it is compiled, and load it."""
    header = HEADER.read_text(encoding="utf-8").replace("#pragma once\n", "")
    exports = "\n".join(f"EMULATE({name})" for name in kernels_in(file))
    # an anonymous namespace, so that files and dtypes share no function
    text = f"{header}\nnamespace {{\n{source(file)}\n}}\n{exports}\n"
    options = (*OPTIONS, f"-DREAL={REALS[dtype]}")
    key = hashlib.sha256("\n".join((text, *options)).encode()).hexdigest()[:24]
    path = _folder / f"{file}-{dtype}-{key}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=_folder) as work:  # others may do the same
            made = Path(work) / path.name
            _gpp(text, *options, "-o", str(made))
            made.rename(path)
    return ctypes.CDLL(str(path))


def _gpp(text: str, *options: str) -> str:
    command = ["g++", *options, "-x", "c++", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
