"""Planning with the real cuDNN for the description of a GPU, in a process of its own.

cuDNN loads the driver's library; where there is none, one that launches nothing (``driver.cpp``)
takes its place.  The process keeps that library from other tests.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nnlib_backends

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Plan:
    """Name and workspace (bytes) of a problem's plan, or an error.

    ``by_name``: how many of the first three candidates could be built by their names.
    """

    name: str = ""
    workspace: int = 0
    by_name: int = 0
    error: str = ""


def missing():
    """Return why nothing can be planned here; empty if it can."""
    if find_spec("cudnn") is None or _library_folder() is None:
        return "cuDNN or its frontend is missing"
    if not _has_driver() and not shutil.which("g++"):
        return "there is neither a driver nor a g++ to compile a substitute"
    return ""


def plans(program, folder, by_name):
    """Run a program's function ``problems()``: label → problem; return label → `Plan`.

    Parameters
    ----------
    program : path
    folder : path
        For compiled files.
    by_name : str
        Part of the labels of problems whose first three candidates are also built by name.
    """
    environment = dict(os.environ)
    driver = ""
    if not _has_driver():
        driver = str(folder / "libcuda.so.1")
        command = ["g++", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", driver]
        subprocess.run([*command, str(HERE / "driver.cpp")], check=True, timeout=60)
    environment["LD_LIBRARY_PATH"] = str(_library_folder())
    paths = [str(Path(nnlib_backends.__file__).parents[1]), str(HERE.parents[2]), *sys.path]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, str(HERE / "plan.py"), str(program), by_name, driver],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {label: Plan(**plan) for label, plan in json.loads(done.stdout).items()}


def _library_folder():
    try:
        spec = find_spec("nvidia.cudnn")
    except ModuleNotFoundError:
        return None
    folders = [Path(folder) / "lib" for folder in spec.submodule_search_locations] if spec else []
    return next((folder for folder in folders if folder.is_dir()), None)


def _has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
