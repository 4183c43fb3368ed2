"""Find the variables, attributes and items that a Python function reads, from its bytecode."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

__all__ = ["Access", "AccessPath", "Reads", "analyze_reads"]


@dataclass(frozen=True)
class Access:
    """One attribute access (``.name``) or subscript (``[name]``)."""

    name: Any
    is_item: bool = False

    def __str__(self) -> str:
        return f"[{self.name!r}]" if self.is_item else f".{self.name}"


@dataclass(frozen=True)
class AccessPath:
    """A variable and the chain of attributes and items read from it, such as ``self.table["k"]``.

    Attributes
    ----------
    scope : str
        "argument", "local", "free" or "global"; "super" for a call of `super`.
    root : str
        Name of the variable.
    accesses : tuple of Access
    line : int
        Line of the source.
    """

    scope: str
    root: str
    accesses: tuple[Access, ...]
    line: int


@dataclass(frozen=True)
class Reads:
    """The names that the code of a function reads and writes.

    Attributes
    ----------
    paths : tuple of AccessPath
    loose_attributes : frozenset of str
        Attributes of local values, such as a loop variable.
    strings : frozenset of str
        String constants in the code: possible keys of dicts.
    dynamic : bool
        Whether the code reads attributes whose names are computed at run time.
    """

    paths: tuple[AccessPath, ...]
    loose_attributes: frozenset[str]
    strings: frozenset[str]
    dynamic: bool


_IGNORED = ("COPY", "CACHE", "EXTENDED_ARG", "PRECALL", "NOP", "NOT_TAKEN", "PUSH_NULL", "SWAP")
_SCOPES = {
    "LOAD_GLOBAL": "global",
    "LOAD_NAME": "global",
    "STORE_GLOBAL": "global",
    "LOAD_DEREF": "free",
    "STORE_DEREF": "free",
    "LOAD_FROM_DICT_OR_DEREF": "free",
}
_STORE_LOAD = "STORE_FAST_LOAD_FAST"
_DYNAMIC = {"getattr", "hasattr", "setattr", "vars", "attrgetter", "__dict__"}


@functools.lru_cache(4096)
def analyze_reads(code: CodeType) -> Reads:
    """Find what a function's code reads.

    Examples
    --------
    >>> def f(self, x):
    ...     return self.config.beta * x + self.table["k"]
    >>> for path in analyze_reads(f.__code__).paths:
    ...     print(path.root + "".join(map(str, path.accesses)))
    self.config.beta
    x
    self.table['k']
    """
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    arguments = set(code.co_varnames[:count])
    paths: list[AccessPath] = []
    loose_attributes: set[str] = set()
    for path in _paths(code):
        scope = "argument" if path.root in arguments and path.scope == "local" else path.scope
        if scope == "free" and path.root not in code.co_freevars:
            scope = "argument" if path.root in arguments else "local"  # a cell of this function
        if path.root:
            paths.append(AccessPath(scope, path.root, path.accesses, path.line))
        if scope == "local":
            loose_attributes.update(
                access.name for access in path.accesses[:1] if not access.is_item
            )
    return Reads(
        tuple(dict.fromkeys(paths)),
        frozenset(loose_attributes),
        frozenset(_strings(code)),
        not _DYNAMIC.isdisjoint(code.co_names),
    )


def _strings(code: CodeType) -> Iterator[str]:
    for value in code.co_consts:
        if isinstance(value, str):
            yield value
        elif isinstance(value, CodeType):
            yield from _strings(value)


def _paths(code: CodeType) -> Iterator[AccessPath]:
    """Yield each path that is loaded; its root is empty where the object is a temporary value."""
    instructions = [i for i in dis.get_instructions(code) if i.opname not in _IGNORED]
    cells = {*code.co_cellvars, *code.co_freevars}
    path: AccessPath | None = None
    after_key = False
    for i, here in enumerate(instructions):
        following = instructions[i + 1] if i + 1 < len(instructions) else None
        line = (here.positions.lineno if here.positions else None) or code.co_firstlineno
        if after_key:  # the subscript itself
            after_key = False
        elif here.opname == "LOAD_SUPER_ATTR":
            path = AccessPath("super", "super()", (Access(here.argval),), line)
        elif here.opname == "CALL" and _is_super(instructions[max(i - 1 - here.argval, 0)]):
            path = AccessPath("super", "super()", (), line)
        elif here.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"):
            path = path or AccessPath("local", "", (), line)
            path = AccessPath(path.scope, path.root, (*path.accesses, Access(here.argval)), line)
        elif path and here.opname in ("LOAD_CONST", "LOAD_SMALL_INT") and _subscript(following):
            if isinstance(here.argval, str | int | float | tuple):
                access = Access(here.argval, is_item=True)
                path = AccessPath(path.scope, path.root, (*path.accesses, access), line)
                after_key = True
        else:
            if path:
                yield path
            path = None
            for scope, name in _loaded(here, cells):
                if path:
                    yield path
                path = AccessPath(scope, name, (), line)
    if path:
        yield path


def _loaded(instruction: dis.Instruction, cells: set[str]) -> list[tuple[str, str]]:
    """Return scope and name of each variable that an instruction loads or changes."""
    opname, value = instruction.opname, instruction.argval
    if opname in _SCOPES:
        return [(_SCOPES[opname], value)]
    if not opname.startswith(("LOAD_FAST", _STORE_LOAD)):
        return []
    names = value if isinstance(value, tuple) else (value,)
    if opname == _STORE_LOAD:
        names = names[1:]
    # Since Python 3.13 a cell is loaded as a variable to build a closure: its content is not read.
    return [("local", name) for name in names if name not in cells]


def _is_super(instruction: dis.Instruction) -> bool:
    return instruction.opname == "LOAD_GLOBAL" and instruction.argval == "super"


def _subscript(instruction: dis.Instruction | None) -> bool:
    if instruction is None:
        return False
    subscripts = ("BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR")
    return instruction.opname in subscripts or instruction.argrepr == "[]"
