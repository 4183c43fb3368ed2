"""Tell the user's program from libraries, and inspect its values without side effects."""

from __future__ import annotations

import gc
import io
import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

from nnlib.jit.guards import MISSING

__all__ = [
    "NONDETERMINISTIC",
    "GarbageCollection",
    "attributes_of",
    "calls_back",
    "cell_content",
    "flatten_containers",
    "is_from_library",
    "is_iterator",
    "is_library",
    "item_of",
    "module_of",
    "numpy_state",
    "owner_of",
    "random_states",
]

_LIBRARIES = {
    *sys.stdlib_module_names, "nnlib", "nnlib_backends", "numpy", "cupy", "cupyx", "numba",
    "llvmlite", "scipy", "cudnn", "nvmath", "threadpoolctl", "psutil", "ml_dtypes",
}  # fmt: skip
_LIBRARIES.discard("__main__")
#: modules of nnlib whose code reads attributes that a program may set
_LAYERS = (
    "nnlib.nn.", "nnlib.models.", "nnlib.train.", "nnlib.optim.scaler", "nnlib.optim.schedules.",
)  # fmt: skip

#: functions of Python whose result differs from call to call
NONDETERMINISTIC = {
    time.time, time.time_ns, time.monotonic, time.perf_counter, time.perf_counter_ns,
    time.process_time, datetime.now, os.urandom, open, input,
}  # fmt: skip


def owner_of(frame: FrameType | None) -> str:
    """Return the owner of a frame's code: "program", "layer" (nnlib's layers) or "" (a library).

    An installed package counts as program if the program or a layer calls it.
    """
    if frame is None:
        return ""
    name = module_of(frame)
    if name.startswith(_LAYERS):
        return "" if name == "nnlib.nn.module" else "layer"
    if is_library(name):
        return ""
    if "-packages" in frame.f_code.co_filename:
        caller = frame.f_back
        if not owner_of(caller) and not calls_back(caller):
            return ""
    return "program"


class GarbageCollection:
    """Whether Python's garbage collector runs in this thread: what it calls is not traced.

    Attributes
    ----------
    collecting : bool
        Whether finalizers and callbacks are being called.
    """

    def __init__(self) -> None:
        self.collecting = False
        self._thread = threading.get_ident()

    def install(self) -> None:
        """Add the first and the last of Python's garbage collection callbacks."""
        gc.callbacks.insert(0, self._start)
        gc.callbacks.append(self._stop)

    def uninstall(self) -> None:
        """Remove these callbacks."""
        gc.callbacks.remove(self._start)
        gc.callbacks.remove(self._stop)

    def _start(self, phase: str, _: Any) -> None:
        if phase == "start" and threading.get_ident() == self._thread:
            self.collecting = True

    def _stop(self, phase: str, _: Any) -> None:
        if phase == "stop" and threading.get_ident() == self._thread:
            self.collecting = False


def flatten_containers(arguments: Any) -> Iterator[Any]:
    """Yield the values in nested lists, tuples and dicts."""
    for value in arguments.values() if isinstance(arguments, dict) else arguments:
        if isinstance(value, dict | list | tuple):
            yield from flatten_containers(value)
        else:
            yield value


def module_of(frame: FrameType) -> str:
    """Return the name of the module of a frame's code."""
    return frame.f_globals.get("__name__") or ""


def calls_back(frame: FrameType | None) -> bool:
    """Whether a library's frame may call a function that the program passed to it."""
    name = "" if frame is None else module_of(frame)
    return name.partition(".")[0] in ("nnlib", "contextlib", "functools")


def is_library(name: str) -> bool:
    """Whether a module belongs to a library that programs do not change."""
    return name.partition(".")[0] in _LIBRARIES


def is_from_library(value: Any) -> bool:
    """Whether a value is a module, function or class of a library, which programs do not assign."""
    if isinstance(value, ModuleType):
        return is_library(value.__name__)
    named = value if isinstance(value, type | FunctionType | BuiltinFunctionType) else type(value)
    known = named is value or named.__module__.startswith("nnlib.ops.")
    return known and is_library(named.__module__ or "builtins")


def cell_content(cell: Any) -> Any:
    """Return the content of a closure's cell."""
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return MISSING


def attributes_of(value: Any) -> dict[str, Any]:
    """Return an object's own attributes."""
    try:
        own = vars(value)
    except TypeError:
        return {}
    return own if isinstance(own, dict) else {}


def item_of(value: Any, key: Any) -> Any:
    """Return an item, if there is one."""
    try:
        return value[key]
    except Exception:  # noqa: BLE001 - raised by a class of the program
        return MISSING


def is_iterator(value: Any) -> bool:
    """Whether a value is an iterator implemented in C, whose state cannot be read."""
    following = getattr(type(value), "__next__", None)
    return (
        following is not None
        and not isinstance(following, FunctionType)
        and not isinstance(value, io.IOBase)
    )


def numpy_state(generator: Any) -> bytes:
    """Return the state of a NumPy random generator."""
    bits = getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", None)
    return pickle.dumps(getattr(bits or generator, "state", None))


def random_states() -> list[Any]:
    """Return the states of the global random generators of Python and NumPy."""
    numpy = sys.modules.get("numpy.random")
    return [random.getstate(), None if numpy is None else pickle.dumps(numpy.get_state())]
