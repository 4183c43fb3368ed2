"""Compiling the ``.cu`` files for GPUs, without one: NVRTC's C interface by ctypes."""

import ctypes
import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nnlib_backends.cupy_backend.kernels.sources import options, source

_REPORT = re.compile(
    r"Function properties for (\w+)\s+(?:ptxas\s+\.\s+)?"
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
)


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """Load NVRTC from NVIDIA's wheel (``nvidia-cuda-nvrtc-cu12``); None without it."""
    try:
        spec = find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    folders = spec.submodule_search_locations if spec else None
    found = [path for folder in folders or () for path in Path(folder).glob("lib/libnvrtc.so.*")]
    libraries = [path for path in found if "alt" not in path.name]
    return ctypes.CDLL(str(libraries[0])) if libraries else None


def added_by_cupy(architecture: str) -> tuple[str, ...]:
    """Return the options that CuPy 14.2 adds for a `cupy.RawModule`, except folders."""
    return "-ftz=true", f"-arch={architecture}", "--device-as-default-execution-space"


def compile_for(file: str, dtype: str, architecture: str) -> dict[str, tuple[int, int, int]]:
    """Compile a file.

    Returns
    -------
    dict
        Name of a kernel → bytes of its stack frame, of spilled stores, of spilled loads.

    Raises
    ------
    AssertionError
        With NVRTC's log, if it does not compile.
    """
    library = nvrtc()
    assert library is not None
    flags = [*options(dtype), *added_by_cupy(architecture), "--ptxas-options=-v"]
    assert len(set(flags)) == len(flags), "NVRTC before 12.9 takes no option twice"
    program = ctypes.c_void_p()
    text = source(file).encode()
    assert not library.nvrtcCreateProgram(
        ctypes.byref(program), text, f"{file}.cu".encode(), 0, None, None
    )
    try:
        given = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        failed = library.nvrtcCompileProgram(program, len(flags), given)
        log = _log(library, program)
        assert not failed, log
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return {
        name: (int(stack), int(stores), int(loads))
        for name, stack, stores, loads in _REPORT.findall(log)
    }


def _log(library: Any, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, text)
    return text.value.decode()
