"""The Python state that a function reads while it is recorded, and whether it is still the same.

A profile function sees every call of a Python function that is not part of a library.  What its
code reads (`nnlib.jit.bytecode`) is looked up as the function begins: variables of closures and
modules, attributes of objects, items of lists and dicts.  Only what was there before the recorded
function was called counts, which is what can be reached from its own variables and arguments.
"""

from __future__ import annotations

import gc
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from nnlib.autograd import Tensor
from nnlib.jit.bytecode import Path, reads
from nnlib.jit.frames import (
    OUTSIDE,
    Garbage,
    attributes_of,
    content_of,
    inside,
    is_iterator,
    is_library,
    item_of,
    module_of,
    numpy_state,
    of_a_library,
    owner_of,
    random_states,
)
from nnlib.jit.guards import MISSING, ValueGuards
from nnlib.tracing import Guards
from nnlib_backends.common.trace import is_plain

__all__ = ["Observer"]

_OF_AN_ARRAY = {"shape", "dtype", "ndim", "size", "nbytes", "itemsize"}
_GROWING = {"append", "extend", "add", "appendleft", "insert"}
_MOST_ITEMS = 256
_DEEPEST = 3


class Observer:
    """Notes what the functions of a program read inside a ``with`` block.

    Parameters
    ----------
    function : callable
        What is called inside.
    noted : Guards
        Of the recording.
    """

    def __init__(self, function: Callable[..., Any], noted: Guards) -> None:
        self.state = ValueGuards()
        self._noted = noted
        self._known: dict[int, Any] = {}  # objects that were there before, by id
        self._functions: dict[int, list[FunctionType]] = {}  # by the id of their code
        self._codes: dict[int, CodeType] = {}
        self._inner: set[int] = set()  # ids of code of functions that are made inside
        self._text, self._where = "", ""
        #: of the array library: a test double may be a library that nobody knows
        self._arrays = noted.backend.array_type.__module__.partition(".")[0]
        tracer = type(noted.tracer)
        # what these call is called in replays, too
        methods: tuple[Any, ...] = (tracer.compute, tracer.call, tracer.scalar_inputs)
        self._repeating = {id(method.__code__) for method in methods}
        self._depth = 0  # of such calls
        self._garbage = Garbage()
        self._know(function)

    def __enter__(self) -> Observer:
        self._random = random_states()
        self._profile: Any = sys.getprofile()
        # cProfile before Python 3.12 could not be put back: less is known then
        self._watches = self._profile is None or isinstance(
            self._profile, FunctionType | MethodType
        )
        if self._watches:
            self._garbage.observer()
            sys.setprofile(self._see)
        else:
            self._noted.names_known = False
            for function in [f for group in self._functions.values() for f in group]:
                for cell in function.__closure__ or ():
                    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
                    value = content_of(cell)
                    self.state.attribute(cell, "cell_contents", value, "a variable", where)
        return self

    def __exit__(self, *_: object) -> None:
        if self._watches:
            sys.setprofile(self._profile)
            self._garbage.leave()
        for name, before, now in zip(
            ("random", "numpy.random"), self._random, random_states(), strict=True
        ):
            if before != now:
                self.state.refuse(f"random numbers were drawn from Python's module {name}")

    # Calls -------------------------------------------------------------------------------------

    def _see(self, frame: FrameType, event: str, arg: Any) -> None:
        if self._profile is not None:
            self._profile(frame, event, arg)
        if id(frame.f_code) in self._repeating:
            self._depth += {"call": 1, "return": -1}.get(event, 0)
        elif self._depth or self._garbage.collecting:
            return
        elif event == "call":
            self._visit(frame, "argument", "free", "global", "super")
        elif event == "return":
            self._visit(frame, "local")
        elif event == "c_call" and arg in OUTSIDE and owner_of(frame) == "program":
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.state.refuse(f"{place}: {arg.__name__}() gives something else at every call")

    def _visit(self, frame: FrameType, *scopes: str) -> None:
        """Look up what a function reads; what cannot be looked at is refused."""
        try:
            self._look_up(frame, scopes)
        except Exception as error:  # noqa: BLE001 - of the program's own classes
            self.state.refuse(f"{self._where}: {self._text} cannot be looked at ({error!r})")

    def _look_up(self, frame: FrameType, scopes: tuple[str, ...]) -> None:
        kind, code = owner_of(frame), frame.f_code
        if not kind or module_of(frame).partition(".")[0] == self._arrays:
            return
        read = reads(code)
        if id(code) not in self._codes:
            self._codes[id(code)] = code
            self._inner |= {id(c) for c in code.co_consts if isinstance(c, CodeType)}
            self._noted.names |= {*code.co_names, *(read.keys if read.anything else ())}
            self._noted.names_known &= not (read.anything and kind == "program")
            if "free" in scopes and code.co_freevars and kind == "program":
                self._close(code, frame)
        variables = frame.f_locals
        seen: dict[int, Any] = {}  # what was found here, for attributes that no path leads to
        for path in read.paths:
            if path.scope in scopes:
                self._where = f"{code.co_filename}:{path.line}"
                if path.scope == "super":
                    owner = variables.get(code.co_varnames[0], MISSING)
                    name = path.steps[0].name if path.steps else ""
                    for base in (owner if isinstance(owner, type) else type(owner)).__mro__:
                        if name in vars(base):  # whichever of them the call finds
                            self._follow(base, path, kind, read.keys, {})
                    continue
                if path.scope == "global":
                    value = frame.f_globals.get(path.root, MISSING)
                    if kind != "program" or value is MISSING or of_a_library(value):
                        continue
                    self._item(frame.f_globals, path.root, path.root)
                    self._know(value)
                else:
                    value = variables.get(path.root, MISSING)
                    if not isinstance(value, Tensor) and id(value) not in self._known:
                        continue  # made inside
                self._follow(value, path, kind, read.keys, seen)
        self._where = f"{code.co_filename}:{code.co_firstlineno}"
        for value in list(seen.values()):
            if type(value) is tuple or not is_plain(value):
                names = read.loose
                if read.anything:  # under names that stand in the code, if any do
                    names = read.loose | read.keys or frozenset(attributes_of(value))
                for name in names:
                    self._attribute(value, name, f"{type(value).__name__}.{name}", loose=True)

    def _close(self, code: CodeType, frame: FrameType) -> None:
        """Note the variables of the closure, unless the function was made inside."""
        if id(code) in self._inner:
            return
        functions = self._functions.get(id(code))
        if functions is None:
            found = gc.get_referrers(code)
            functions = [f for f in found if isinstance(f, FunctionType) and f.__code__ is code]
        values = frame.f_locals
        for function in functions:
            cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
            if all(content_of(cell) is values.get(name, MISSING) for name, cell in cells.items()):
                for name, cell in cells.items():
                    self._where = f"{code.co_filename}:{code.co_firstlineno}"
                    self.state.attribute(cell, "cell_contents", values.get(name), name, self._where)
                    self._know(values.get(name))

    # Values ------------------------------------------------------------------------------------

    def _know(self, value: Any) -> None:
        """Note that something was there before, with what a function or an object is made of."""
        if is_plain(value) or value is MISSING or id(value) in self._known:
            return
        if isinstance(value, Tensor | ModuleType):
            return
        self._known[id(value)] = value
        if isinstance(value, partial):
            parts = [value.func, *inside([*value.args, *value.keywords.values()])]
        elif isinstance(value, MethodType):
            parts = [value.__self__, value.__func__]
        elif isinstance(value, FunctionType):
            self._functions.setdefault(id(value.__code__), []).append(value)
            cells = [content_of(cell) for cell in value.__closure__ or ()]
            parts = [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        elif isinstance(value, tuple | list) and len(value) <= _MOST_ITEMS:
            parts = list(value)
        elif hasattr(type(value), "named_modules"):
            parts = list(vars(value).values())
        else:
            parts = []
        for part in parts:
            self._know(part)

    def _follow(
        self, value: Any, path: Path, kind: str, keys: Iterable[str], seen: dict[int, Any]
    ) -> None:
        """Note what a path leads to, and what it passes."""
        self._text, rest = path.root, list(path.steps)
        while rest and not isinstance(value, Tensor):
            if is_plain(value) or value is MISSING:
                return
            step = rest.pop(0)
            if step.is_key:
                if isinstance(value, dict):
                    value = self._item(value, step.name, f"{self._text}{step}")
                else:
                    self._contents(value, keys, seen)
                    value = item_of(value, step.name)
            else:
                self._whole(value, keys, seen, step.name)
                value = self._attribute(value, step.name, f"{self._text}{step}")
            self._text += str(step)
            self._know(value)
        if not isinstance(value, Tensor):
            self._whole(value, keys, seen)
        elif kind == "program":
            self._tensor(value, [step.name for step in rest])

    def _tensor(self, value: Tensor, names: list[Any]) -> None:
        """Note a tensor; refuse its bare array, for what is done with that is not seen."""
        self._noted.note_read(value)
        if names[:1] == ["data"] and not _OF_AN_ARRAY.intersection(names[1:2]):
            self.state.refuse(
                f"{self._where}: {self._text}.data, on which operations are not recorded"
            )

    def _whole(
        self, value: Any, keys: Iterable[str], seen: dict[int, Any], method: str = ""
    ) -> None:
        """Note all of a container, an array, or a source of numbers."""
        if isinstance(value, list | set | deque) and method in _GROWING:
            self.state.growing(value, self._text, self._where)
        elif isinstance(value, dict | list | tuple | set | deque):
            self._contents(value, keys, seen)
        elif type(value).__module__.startswith("numpy.random"):
            self.state.source(numpy_state, value, self._text, self._where)
        elif isinstance(value, random.Random):
            self.state.source(random.Random.getstate, value, self._text, self._where)
        elif hasattr(type(value), "__array_interface__") and hasattr(type(value), "tobytes"):
            if value.size <= _MOST_ITEMS:
                self.state.source(type(value).tobytes, value, self._text, self._where, guards=True)
        elif is_iterator(value):
            self.state.refuse(f"{self._where}: {self._text}, an iterator, is at another place then")
        elif value is not MISSING and not is_plain(value):
            seen[id(value)] = value

    def _contents(
        self, value: Any, keys: Iterable[str], seen: dict[int, Any], depth: int = 0
    ) -> None:
        """Note the items of a container, and of those inside."""
        if isinstance(value, dict):
            named = [key for key in keys if key in value] if depth else []
            for key in named:
                self._item(value, key, f"{self._text}[…][{key!r}]")
            if not named:
                self.state.items(value, self._text, self._where, _MOST_ITEMS)
            items = [value[key] for key in named] if named else list(value.values())
        else:
            if not isinstance(value, tuple):
                self.state.items(value, self._text, self._where, _MOST_ITEMS)
            items = list(value)
        for item in items if len(items) <= _MOST_ITEMS else ():
            self._know(item)
            if isinstance(item, dict | list | tuple | set | deque):
                if depth < _DEEPEST:
                    self._contents(item, keys, seen, depth + 1)
            elif not is_plain(item) and not isinstance(item, Tensor | ModuleType):
                seen[id(item)] = item

    def _item(self, holder: dict[Any, Any], key: Any, text: str) -> Any:
        self.state.item(holder, key, text, self._where)
        return holder.get(key, MISSING)

    def _attribute(self, value: Any, name: str, text: str, loose: bool = False) -> Any:
        """Return an attribute that is no method or property, and note it."""
        if isinstance(value, ModuleType):
            return MISSING if is_library(value.__name__) else self._item(vars(value), name, text)
        own = attributes_of(value)
        of_nnlib = type(value).__module__.startswith("nnlib.")
        if of_nnlib and name.startswith("_"):
            return MISSING  # which no program sets
        is_layer = hasattr(type(value), "named_modules")
        if is_layer:
            self._noted.note_module(value)
        classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
        static = next((vars(c)[name] for c in classes if name in vars(c)), MISSING)
        if isinstance(value, type):
            own = {}
        if hasattr(type(static), "__set__"):  # a slot, or a property, whose function is seen
            if type(static).__name__ != "member_descriptor":
                return MISSING
            found = getattr(value, name, MISSING)
        elif name in own:
            found = own[name]
            if is_layer:
                return found  # noted with the layer
        elif static is MISSING:
            if loose or is_layer or hasattr(type(value), "__getattr__"):
                return MISSING
            found = MISSING
        elif hasattr(type(static), "__get__") or is_library(classes[0].__module__):
            return MISSING
        else:
            found = static
        self.state.attribute(value, name, found, text, self._where)
        self._know(found)
        return found
