"""Layers that apply a function, with its options, repr and documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

from nnlib.autograd import Tensor
from nnlib.nn.functional.checks import TensorLike
from nnlib.nn.module import Module

__all__ = ["FunctionLayer"]

_ORDER = ("Parameters", "Shape", "Returns", "Raises", "Examples")


@dataclass_transform()
class FunctionLayer(Module):
    """A layer that applies a function, with the function's options as attributes.

    The constructor has the function's parameters that are options, in order and with defaults; a
    subclass annotates them for type checkers.  The class has the function's docstring, whose
    example uses the default options; sections of the class's own docstring replace those of the
    function.

    Examples
    --------
    >>> from nnlib import ops
    >>> class Bend(FunctionLayer, function=ops.leaky_relu):
    ...     negative_slope: float = 0.01
    >>> Bend(0.5)
    Bend(negative_slope=0.5)
    >>> Bend(0.5)([-1.0, 1.0])
    tensor([-0.5,  1. ])
    """

    inputs: ClassVar[int] = 1  #: number of the function's parameters that are inputs
    function: ClassVar[Callable[..., Tensor]]
    options: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, function: Callable[..., Tensor] | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if function is None:
            return
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = list(inspect.signature(function).parameters.values())
        options = [p.replace(kind=itself.kind) for p in parameters[cls.inputs :]]
        takes = inspect.Signature([itself, *options], return_annotation=None)

        def construct(self: FunctionLayer, *args: Any, **given: Any) -> None:
            Module.__init__(self)
            call = takes.bind(self, *args, **given)
            call.apply_defaults()
            for name in self.options:
                self._set_option(name, call.arguments[name])

        construct.__signature__ = takes  # type: ignore[attr-defined]
        construct.__name__, construct.__qualname__ = "__init__", f"{cls.__qualname__}.__init__"
        cls.__init__ = construct  # type: ignore[assignment, method-assign]
        cls.function, cls.options = staticmethod(function), tuple(p.name for p in options)
        cls.__doc__ = _documentation(cls, function, [p.name for p in parameters[: cls.inputs]])

    def _set_option(self, name: str, value: Any) -> None:
        """Check and store an option of the constructor."""
        setattr(self, name, value)

    def forward(self, x: TensorLike) -> Tensor:
        """Apply the function."""
        return self.function(x, **{name: getattr(self, name) for name in self.options})

    def extra_repr(self) -> str:
        """Return the options."""
        shown = [name for name in self.options if name not in self._buffers]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)


def _documentation(cls: type, function: Callable[..., Any], inputs: list[str]) -> str:
    """Convert a function's docstring to a layer's, with the inputs in a section Shape."""
    summary, sections = _sections(function.__doc__)
    sections = dict.fromkeys(_ORDER, "") | sections
    entries = re.findall(
        r"^(\w+(?:, \w+)*)(.*(?:\n(?!\S).*)*)", sections["Parameters"], re.MULTILINE
    )
    for heading, of_call in (("Parameters", False), ("Shape", True)):
        chosen = [([n for n in ns.split(", ") if (n in inputs) == of_call], x) for ns, x in entries]
        sections[heading] = "\n".join(f"{', '.join(ns)}{x.rstrip()}" for ns, x in chosen if ns)
    call = re.compile(rf"(?<!\w){function.__name__}\(")
    sections["Examples"] = call.sub(f"{cls.__name__}()(", sections["Examples"])
    remark, own = _sections(_remark(cls))
    texts = [f"{h}\n{'-' * len(h)}\n{text}" for h, text in (sections | own).items() if text]
    return "\n\n".join(filter(None, [summary, remark, *texts]))


def _remark(cls: type) -> str | None:
    """Return the docstring of a class, or of its first base class without a function."""
    bases = cls.__mro__[1 : cls.__mro__.index(FunctionLayer)]
    common = (base for base in bases if "function" not in vars(base))
    return next((c.__doc__ for c in (cls, *common) if c.__doc__), None)


def _sections(text: str | None) -> tuple[str, dict[str, str]]:
    """Split a docstring into the text before its first section, and the sections."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(text or ""), flags=re.MULTILINE)
    texts = [part.strip() for part in parts]
    return texts[0], dict(zip(texts[1::2], texts[2::2], strict=True))
