"""Guard the Python state that a function reads while it is traced.

A profile function sees every call of Python code outside the libraries.  As a function begins, the
variables, attributes and items that its bytecode reads (`nnlib.jit.bytecode`) are looked up and
guarded.  Only objects that existed before the traced call count: those that can be reached from the
function's arguments, closures and globals.
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
from nnlib.jit.bytecode import AccessPath, analyze_reads
from nnlib.jit.frames import (
    NONDETERMINISTIC,
    GarbageCollection,
    attributes_of,
    cell_content,
    flatten_containers,
    is_from_library,
    is_iterator,
    is_library,
    item_of,
    module_of,
    numpy_state,
    owner_of,
    random_states,
)
from nnlib.jit.guards import MISSING, ValueGuards
from nnlib.tracing import Guards
from nnlib_backends.common.trace import is_plain

__all__ = ["Observer"]

_ARRAY_PROPERTIES = {"shape", "dtype", "ndim", "size", "nbytes", "itemsize"}
_ADDING = {"append", "extend", "add", "appendleft", "insert"}
_MAX_ITEMS = 256
_MAX_DEPTH = 3


class Observer:
    """Guard what the functions of a program read inside a ``with`` block.

    Parameters
    ----------
    function : callable
        The function that is called inside.
    guards : Guards
        Guards of the trace.
    """

    def __init__(self, function: Callable[..., Any], guards: Guards) -> None:
        self.values = ValueGuards()
        self._guards = guards
        self._outer: dict[int, Any] = {}  # objects from before the call, by id
        self._functions_by_code: dict[int, list[FunctionType]] = {}  # by id of the code
        self._seen_codes: dict[int, CodeType] = {}
        self._inner_codes: set[int] = set()  # ids of code of nested functions
        self._text, self._where = "", ""
        #: name of the array library, which may be a test double
        self._arrays = guards.backend.array_type.__module__.partition(".")[0]
        tracer = type(guards.tracer)
        # replays repeat the functions that these call
        methods: tuple[Any, ...] = (tracer.compute, tracer.call, tracer.scalar_inputs)
        self._traced_calls = {id(method.__code__) for method in methods}
        self._depth = 0  # of nested traced calls
        self._collection = GarbageCollection()
        self._mark_outer(function)

    def __enter__(self) -> Observer:
        self._random = random_states()
        self._profile: Any = sys.getprofile()
        # cProfile before Python 3.12 cannot be restored: only closures are guarded then
        self._active = self._profile is None or isinstance(self._profile, FunctionType | MethodType)
        if self._active:
            self._collection.install()
            sys.setprofile(self._on_event)
        else:
            self._guards.names_known = False
            for function in [f for group in self._functions_by_code.values() for f in group]:
                for cell in function.__closure__ or ():
                    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
                    value = cell_content(cell)
                    self.values.attribute(cell, "cell_contents", value, "a variable", where)
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            sys.setprofile(self._profile)
            self._collection.uninstall()
        for name, before, now in zip(
            ("random", "numpy.random"), self._random, random_states(), strict=True
        ):
            if before != now:
                self.values.refuse(f"random numbers were drawn from Python's module {name}")

    # Calls -------------------------------------------------------------------------------------

    def _on_event(self, frame: FrameType, event: str, arg: Any) -> None:
        if self._profile is not None:
            self._profile(frame, event, arg)
        if id(frame.f_code) in self._traced_calls:
            self._depth += {"call": 1, "return": -1}.get(event, 0)
        elif self._depth or self._collection.collecting:
            return
        elif event == "call":
            self._guard_reads(frame, "argument", "free", "global", "super")
        elif event == "return":
            self._guard_reads(frame, "local")
        elif event == "c_call" and arg in NONDETERMINISTIC and owner_of(frame) == "program":
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.values.refuse(f"{where}: {arg.__name__}() gives something else at every call")

    def _guard_reads(self, frame: FrameType, *scopes: str) -> None:
        """Guard what a function reads, and refuse what cannot be read."""
        try:
            self._guard_paths(frame, scopes)
        except Exception as error:  # noqa: BLE001 - raised by a class of the program
            self.values.refuse(f"{self._where}: {self._text} cannot be read ({error!r})")

    def _guard_paths(self, frame: FrameType, scopes: tuple[str, ...]) -> None:
        kind, code = owner_of(frame), frame.f_code
        if not kind or module_of(frame).partition(".")[0] == self._arrays:
            return
        read = analyze_reads(code)
        if id(code) not in self._seen_codes:
            self._seen_codes[id(code)] = code
            self._inner_codes |= {id(c) for c in code.co_consts if isinstance(c, CodeType)}
            self._guards.names |= {*code.co_names, *(read.strings if read.dynamic else ())}
            self._guards.names_known &= not (read.dynamic and kind == "program")
            if "free" in scopes and code.co_freevars and kind == "program":
                self._guard_closure(code, frame)
        variables = frame.f_locals
        seen: dict[int, Any] = {}  # values found here, for attributes without a path
        for path in read.paths:
            if path.scope in scopes:
                self._where = f"{code.co_filename}:{path.line}"
                if path.scope == "super":
                    owner = variables.get(code.co_varnames[0], MISSING)
                    name = path.accesses[0].name if path.accesses else ""
                    for base in (owner if isinstance(owner, type) else type(owner)).__mro__:
                        if name in vars(base):  # the call finds one of them
                            self._follow_path(base, path, kind, read.strings, {})
                    continue
                if path.scope == "global":
                    value = frame.f_globals.get(path.root, MISSING)
                    if kind != "program" or value is MISSING or is_from_library(value):
                        continue
                    self._guard_item(frame.f_globals, path.root, path.root)
                    self._mark_outer(value)
                else:
                    value = variables.get(path.root, MISSING)
                    if not isinstance(value, Tensor) and id(value) not in self._outer:
                        continue  # made during the trace
                self._follow_path(value, path, kind, read.strings, seen)
        self._where = f"{code.co_filename}:{code.co_firstlineno}"
        for value in list(seen.values()):
            if type(value) is tuple or not is_plain(value):
                names = read.loose_attributes
                if read.dynamic:  # the names may be strings in the code
                    names = read.loose_attributes | read.strings or frozenset(attributes_of(value))
                for name in names:
                    self._guard_attribute(value, name, f"{type(value).__name__}.{name}", loose=True)

    def _guard_closure(self, code: CodeType, frame: FrameType) -> None:
        """Guard the variables of the closure, unless the function was made during the trace."""
        if id(code) in self._inner_codes:
            return
        functions = self._functions_by_code.get(id(code))
        if functions is None:
            found = gc.get_referrers(code)
            functions = [f for f in found if isinstance(f, FunctionType) and f.__code__ is code]
        values = frame.f_locals
        for function in functions:
            cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
            if all(cell_content(cell) is values.get(name, MISSING) for name, cell in cells.items()):
                for name, cell in cells.items():
                    self._where = f"{code.co_filename}:{code.co_firstlineno}"
                    self.values.attribute(
                        cell, "cell_contents", values.get(name), name, self._where
                    )
                    self._mark_outer(values.get(name))

    # Values ------------------------------------------------------------------------------------

    def _mark_outer(self, value: Any) -> None:
        """Mark a value, and its parts, as existing before the traced call."""
        if is_plain(value) or value is MISSING or id(value) in self._outer:
            return
        if isinstance(value, Tensor | ModuleType):
            return
        self._outer[id(value)] = value
        if isinstance(value, partial):
            parts = [value.func, *flatten_containers([*value.args, *value.keywords.values()])]
        elif isinstance(value, MethodType):
            parts = [value.__self__, value.__func__]
        elif isinstance(value, FunctionType):
            self._functions_by_code.setdefault(id(value.__code__), []).append(value)
            cells = [cell_content(cell) for cell in value.__closure__ or ()]
            parts = [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        elif isinstance(value, tuple | list) and len(value) <= _MAX_ITEMS:
            parts = list(value)
        elif hasattr(type(value), "named_modules"):
            parts = list(vars(value).values())
        else:
            parts = []
        for part in parts:
            self._mark_outer(part)

    def _follow_path(
        self, value: Any, path: AccessPath, kind: str, keys: Iterable[str], seen: dict[int, Any]
    ) -> None:
        """Guard the value at the end of a path, and each on the way."""
        self._text, rest = path.root, list(path.accesses)
        while rest and not isinstance(value, Tensor):
            if is_plain(value) or value is MISSING:
                return
            access = rest.pop(0)
            if access.is_item:
                if isinstance(value, dict):
                    value = self._guard_item(value, access.name, f"{self._text}{access}")
                else:
                    self._guard_contents(value, keys, seen)
                    value = item_of(value, access.name)
            else:
                self._guard_value(value, keys, seen, access.name)
                value = self._guard_attribute(value, access.name, f"{self._text}{access}")
            self._text += str(access)
            self._mark_outer(value)
        if not isinstance(value, Tensor):
            self._guard_value(value, keys, seen)
        elif kind == "program":
            self._guard_tensor(value, [access.name for access in rest])

    def _guard_tensor(self, value: Tensor, names: list[Any]) -> None:
        """Guard a tensor; refuse its array, since operations on that are not traced."""
        self._guards.note_read(value)
        if names[:1] == ["data"] and not _ARRAY_PROPERTIES.intersection(names[1:2]):
            self.values.refuse(
                f"{self._where}: {self._text}.data, on which operations are not traced"
            )

    def _guard_value(
        self, value: Any, keys: Iterable[str], seen: dict[int, Any], method: str = ""
    ) -> None:
        """Guard a whole container, array or random generator."""
        if isinstance(value, list | set | deque) and method in _ADDING:
            self.values.growing(value, self._text, self._where)
        elif isinstance(value, dict | list | tuple | set | deque):
            self._guard_contents(value, keys, seen)
        elif type(value).__module__.startswith("numpy.random"):
            self.values.snapshot(numpy_state, value, self._text, self._where)
        elif isinstance(value, random.Random):
            self.values.snapshot(random.Random.getstate, value, self._text, self._where)
        elif hasattr(type(value), "__array_interface__") and hasattr(type(value), "tobytes"):
            if value.size <= _MAX_ITEMS:
                read = type(value).tobytes
                self.values.snapshot(read, value, self._text, self._where, guard=True)
        elif is_iterator(value):
            self.values.refuse(f"{self._where}: {self._text}, an iterator, moves on in each call")
        elif value is not MISSING and not is_plain(value):
            seen[id(value)] = value

    def _guard_contents(
        self, value: Any, keys: Iterable[str], seen: dict[int, Any], depth: int = 0
    ) -> None:
        """Guard the items of a container, and of nested ones."""
        if isinstance(value, dict):
            named = [key for key in keys if key in value] if depth else []
            for key in named:
                self._guard_item(value, key, f"{self._text}[…][{key!r}]")
            if not named:
                self.values.items(value, self._text, self._where, _MAX_ITEMS)
            items = [value[key] for key in named] if named else list(value.values())
        else:
            if not isinstance(value, tuple):
                self.values.items(value, self._text, self._where, _MAX_ITEMS)
            items = list(value)
        for item in items if len(items) <= _MAX_ITEMS else ():
            self._mark_outer(item)
            if isinstance(item, dict | list | tuple | set | deque):
                if depth < _MAX_DEPTH:
                    self._guard_contents(item, keys, seen, depth + 1)
            elif not is_plain(item) and not isinstance(item, Tensor | ModuleType):
                seen[id(item)] = item

    def _guard_item(self, holder: dict[Any, Any], key: Any, text: str) -> Any:
        self.values.item(holder, key, text, self._where)
        return holder.get(key, MISSING)

    def _guard_attribute(self, value: Any, name: str, text: str, loose: bool = False) -> Any:
        """Guard and return an attribute that is no method or property."""
        if isinstance(value, ModuleType):
            library = is_library(value.__name__)
            return MISSING if library else self._guard_item(vars(value), name, text)
        own = attributes_of(value)
        of_nnlib = type(value).__module__.startswith("nnlib.")
        if of_nnlib and name.startswith("_"):
            return MISSING  # programs do not set these
        is_layer = hasattr(type(value), "named_modules")
        if is_layer:
            self._guards.note_module(value)
        classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
        static = next((vars(c)[name] for c in classes if name in vars(c)), MISSING)
        if isinstance(value, type):
            own = {}
        if hasattr(type(static), "__set__"):  # a slot, or a property, whose call is traced
            if type(static).__name__ != "member_descriptor":
                return MISSING
            found = getattr(value, name, MISSING)
        elif name in own:
            found = own[name]
            if is_layer:
                return found  # guarded with the layer
        elif static is MISSING:
            if loose or is_layer or hasattr(type(value), "__getattr__"):
                return MISSING
            found = MISSING
        elif hasattr(type(static), "__get__") or is_library(classes[0].__module__):
            return MISSING
        else:
            found = static
        self.values.attribute(value, name, found, text, self._where)
        self._mark_outer(found)
        return found
