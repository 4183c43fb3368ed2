"""Whose code a frame runs, and what can be learnt of values of a program without changing them."""

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
    "OUTSIDE",
    "Garbage",
    "attributes_of",
    "calls_programs",
    "content_of",
    "inside",
    "is_iterator",
    "is_library",
    "item_of",
    "module_of",
    "numpy_state",
    "of_a_library",
    "owner_of",
    "random_states",
]

_LIBRARIES = {
    *sys.stdlib_module_names, "nnlib", "nnlib_backends", "numpy", "cupy", "cupyx", "numba",
    "llvmlite", "scipy", "cudnn", "nvmath", "threadpoolctl", "psutil", "ml_dtypes",
}  # fmt: skip
_LIBRARIES.discard("__main__")
#: code of nnlib's that reads attributes which a program may set
_LAYERS = (
    "nnlib.nn.", "nnlib.models.", "nnlib.train.", "nnlib.optim.scaler", "nnlib.optim.schedules.",
)  # fmt: skip

#: what the host answers differently every time
OUTSIDE = {
    time.time, time.time_ns, time.monotonic, time.perf_counter, time.perf_counter_ns,
    time.process_time, datetime.now, os.urandom, open, input,
}  # fmt: skip


def owner_of(frame: FrameType | None) -> str:
    """Whose code this is: "program", "layer" for what nnlib reads of it, or "" for a library.

    An installed package counts if the program or a layer calls it, not if a library does.
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
        if not owner_of(caller) and not calls_programs(caller):
            return ""
    return "program"


class Garbage:
    """Tells whether Python's garbage collector runs in this thread: its calls are no program's.

    Attributes
    ----------
    collecting : bool
        Whether finalizers and callbacks are being called.
    """

    def __init__(self) -> None:
        self.collecting = False
        self._thread = threading.get_ident()

    def observer(self) -> None:
        """Be the first and the last of Python's callbacks at each collection."""
        gc.callbacks.insert(0, self._start)
        gc.callbacks.append(self._stop)

    def leave(self) -> None:
        """Be none of them any more."""
        gc.callbacks.remove(self._start)
        gc.callbacks.remove(self._stop)

    def _start(self, phase: str, _: Any) -> None:
        if phase == "start" and threading.get_ident() == self._thread:
            self.collecting = True

    def _stop(self, phase: str, _: Any) -> None:
        if phase == "stop" and threading.get_ident() == self._thread:
            self.collecting = False


def inside(arguments: Any) -> Iterator[Any]:
    """Yield what is in lists and dicts of arguments: they are copies themselves."""
    for value in arguments.values() if isinstance(arguments, dict) else arguments:
        if isinstance(value, dict | list | tuple):
            yield from inside(value)
        else:
            yield value


def module_of(frame: FrameType) -> str:
    """Return the name of the module that a frame's code is of."""
    return frame.f_globals.get("__name__") or ""


def calls_programs(frame: FrameType | None) -> bool:
    """Tell whether a library's frame is of those that call what a program gave them."""
    name = "" if frame is None else module_of(frame)
    return name.partition(".")[0] in ("nnlib", "contextlib", "functools")


def is_library(name: str) -> bool:
    """Tell whether a module is part of a library that programs do not change."""
    return name.partition(".")[0] in _LIBRARIES


def of_a_library(value: Any) -> bool:
    """Whether a value is a module, function or class of a library: no program assigns it anew."""
    if isinstance(value, ModuleType):
        return is_library(value.__name__)
    named = value if isinstance(value, type | FunctionType | BuiltinFunctionType) else type(value)
    known = named is value or named.__module__.startswith("nnlib.ops.")
    return known and is_library(named.__module__ or "builtins")


def content_of(cell: Any) -> Any:
    """Return what a variable of a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned yet
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
    except Exception:  # noqa: BLE001 - whatever the program's own class raises
        return MISSING


def is_iterator(value: Any) -> bool:
    """Whether a value is an iterator that is not written in Python, whose state cannot be seen."""
    following = getattr(type(value), "__next__", None)
    return (
        following is not None
        and not isinstance(following, FunctionType)
        and not isinstance(value, io.IOBase)
    )


def numpy_state(generator: Any) -> bytes:
    """Return the state of a random generator of NumPy's."""
    bits = getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", None)
    return pickle.dumps(getattr(bits or generator, "state", None))


def random_states() -> list[Any]:
    """Return the states of Python's and NumPy's own generators."""
    numpy = sys.modules.get("numpy.random")
    return [random.getstate(), None if numpy is None else pickle.dumps(numpy.get_state())]
