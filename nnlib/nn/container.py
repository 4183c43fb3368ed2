"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnlib.errors import OptionError
from nnlib.nn.module import Module

__all__ = ["ModuleList", "Sequential"]


class ModuleList(Module):
    """A list of modules, each registered under its index.

    Examples
    --------
    >>> from nnlib import nn
    >>> [name for name, _ in ModuleList([nn.ReLU(), nn.Tanh()]).named_children()]
    ['0', '1']
    """

    def __init__(self, modules: list[Module] | tuple[Module, ...] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end; return self."""
        if not isinstance(module, Module):
            raise OptionError(f"{type(self).__name__} holds modules. Received: {module!r}")
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        modules = list(self._modules.values())[index]
        return modules if isinstance(modules, Module) else type(self)(*_spread(self, modules))

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(self._modules)[index], module)


def _spread(container: ModuleList, modules: list[Module]) -> tuple[Any, ...]:
    return tuple(modules) if isinstance(container, Sequential) else (modules,)


class Sequential(ModuleList):
    """Modules applied one after another.

    Parameters
    ----------
    *modules : Module, or one dict of name → Module

    Examples
    --------
    >>> from nnlib import nn
    >>> net = Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> sum(p.size for p in net.parameters())  # the course's 2-3-1 network
    13
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                setattr(self, name, module)
            return
        for item in modules:
            self.append(item)  # type: ignore[arg-type] # it refuses what is no module

    def forward(self, x: Any) -> Any:
        """Apply every module in turn."""
        for module in self._modules.values():
            x = module(x)
        return x
