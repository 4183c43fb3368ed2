"""Which names a Python function reads: variables, and attributes and items of what they hold."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

__all__ = ["Path", "Reads", "Step", "reads"]


@dataclass(frozen=True)
class Step:
    """From an object to what it holds: an attribute's name, or the key of an item."""

    name: Any
    is_key: bool = False

    def __str__(self) -> str:
        return f"[{self.name!r}]" if self.is_key else f".{self.name}"


@dataclass(frozen=True)
class Path:
    """A variable, and the attributes and items that are read from there on.

    Attributes
    ----------
    scope : str
        Where the variable is: "argument", "local", "free" or "global"; "super" where there is none,
        but a call of `super`.
    root : str
        Its name.
    steps : tuple of Step
    line : int
        Where that stands in the source.
    """

    scope: str
    root: str
    steps: tuple[Step, ...]
    line: int


@dataclass(frozen=True)
class Reads:
    """What the code of a function reads and writes.

    Attributes
    ----------
    paths : tuple of Path
    loose : frozenset of str
        Attributes of something that no path leads to, such as a loop's variable.
    keys : frozenset of str
        Strings that stand in the code: perhaps keys of dicts.
    anything : bool
        Whether attributes are read whose names only come out at run time.
    """

    paths: tuple[Path, ...]
    loose: frozenset[str]
    keys: frozenset[str]
    anything: bool


_NOTHING = ("COPY", "CACHE", "EXTENDED_ARG", "PRECALL", "NOP", "NOT_TAKEN", "PUSH_NULL", "SWAP")
_SCOPES = {
    "LOAD_GLOBAL": "global",
    "LOAD_NAME": "global",
    "STORE_GLOBAL": "global",
    "LOAD_DEREF": "free",
    "STORE_DEREF": "free",
    "LOAD_FROM_DICT_OR_DEREF": "free",
}
_STORE_LOAD = "STORE_FAST_LOAD_FAST"
_ANYTHING = {"getattr", "hasattr", "setattr", "vars", "attrgetter", "__dict__"}


@functools.lru_cache(4096)
def reads(code: CodeType) -> Reads:
    """Find the paths in a function's code.

    Examples
    --------
    >>> def f(self, x):
    ...     return self.config.beta * x + self.table["k"]
    >>> for path in reads(f.__code__).paths:
    ...     print(path.root + "".join(map(str, path.steps)))
    self.config.beta
    x
    self.table['k']
    """
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    arguments = set(code.co_varnames[:count])
    paths: list[Path] = []
    loose: set[str] = set()
    for path in _paths(code):
        scope = "argument" if path.root in arguments and path.scope == "local" else path.scope
        if scope == "free" and path.root not in code.co_freevars:
            scope = "argument" if path.root in arguments else "local"  # for functions inside
        if path.root:
            paths.append(Path(scope, path.root, path.steps, path.line))
        if scope == "local":
            loose.update(step.name for step in path.steps[:1] if not step.is_key)
    return Reads(
        tuple(dict.fromkeys(paths)),
        frozenset(loose),
        frozenset(_texts(code)),
        not _ANYTHING.isdisjoint(code.co_names),
    )


def _texts(code: CodeType) -> Iterator[str]:
    for value in code.co_consts:
        if isinstance(value, str):
            yield value
        elif isinstance(value, CodeType):
            yield from _texts(value)


def _paths(code: CodeType) -> Iterator[Path]:
    """Yield what is loaded; without a root, where what an attribute belongs to is not known."""
    instructions = [i for i in dis.get_instructions(code) if i.opname not in _NOTHING]
    cells = {*code.co_cellvars, *code.co_freevars}
    path: Path | None = None
    after_key = False
    for i, here in enumerate(instructions):
        following = instructions[i + 1] if i + 1 < len(instructions) else None
        line = (here.positions.lineno if here.positions else None) or code.co_firstlineno
        if after_key:  # the subscript itself
            after_key = False
        elif here.opname == "LOAD_SUPER_ATTR":
            path = Path("super", "super()", (Step(here.argval),), line)
        elif here.opname == "CALL" and _is_super(instructions[max(i - 1 - here.argval, 0)]):
            path = Path("super", "super()", (), line)
        elif here.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"):
            path = path or Path("local", "", (), line)
            path = Path(path.scope, path.root, (*path.steps, Step(here.argval)), line)
        elif path and here.opname in ("LOAD_CONST", "LOAD_SMALL_INT") and _subscript(following):
            if isinstance(here.argval, str | int | float | tuple):
                step = Step(here.argval, is_key=True)
                path = Path(path.scope, path.root, (*path.steps, step), line)
                after_key = True
        else:
            if path:
                yield path
            path = None
            for scope, name in _loaded(here, cells):
                if path:
                    yield path
                path = Path(scope, name, (), line)
    if path:
        yield path


def _loaded(instruction: dis.Instruction, cells: set[str]) -> list[tuple[str, str]]:
    """Return scope and name of each variable that an instruction loads, or that it changes."""
    opname, value = instruction.opname, instruction.argval
    if opname in _SCOPES:
        return [(_SCOPES[opname], value)]
    if not opname.startswith(("LOAD_FAST", _STORE_LOAD)):
        return []
    names = value if isinstance(value, tuple) else (value,)
    if opname == _STORE_LOAD:
        names = names[1:]
    # Since Python 3.13 a cell goes to a function inside as a variable: nothing reads its content.
    return [("local", name) for name in names if name not in cells]


def _is_super(instruction: dis.Instruction) -> bool:
    return instruction.opname == "LOAD_GLOBAL" and instruction.argval == "super"


def _subscript(instruction: dis.Instruction | None) -> bool:
    if instruction is None:
        return False
    subscripts = ("BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR")
    return instruction.opname in subscripts or instruction.argrepr == "[]"
