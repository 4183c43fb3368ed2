"""Containers of modules: `ModuleList`, `Sequential`, `ModuleDict`."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import count, zip_longest
from typing import Any

from nnlib.errors import OptionError
from nnlib.nn.activation import GELU, ReLU, Sigmoid, Tanh
from nnlib.nn.conv import Conv2d
from nnlib.nn.linear import Linear
from nnlib.nn.module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


#: Layers whose ``forward`` can fuse an activation, and the activation layers that it replaces.
_FUSING: tuple[type[Module], ...] = (Conv2d, Linear)
_FUSED: dict[type[Module], str] = {ReLU: "relu", Tanh: "tanh", Sigmoid: "sigmoid"}


class _Container(Module):
    """Base class of lists and dicts of modules."""

    def _put(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            raise OptionError(f"{type(self).__name__} holds modules. Received: {module!r}")
        setattr(self, name, module)

    def __len__(self) -> int:
        return len(self._modules)


class ModuleList(_Container):
    """A list of modules, each registered under its index.

    Parameters
    ----------
    modules : iterable of Module
        In this order.

    Raises
    ------
    OptionError
        If an item is no module.

    Examples
    --------
    >>> from nnlib import nn
    >>> [name for name, _ in ModuleList([nn.ReLU(), nn.Tanh()]).named_children()]
    ['0', '1']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end; return self."""
        names = (str(i) for i in count(len(self)))
        self._put(next(name for name in names if name not in self._modules), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end; return self."""
        if not isinstance(modules, Iterable):
            raise OptionError(f"{type(self).__name__} holds modules. Received: {modules!r}")
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> ModuleList:
        """Add a module before that index; the indices of later ones rise by 1.  Return self."""
        items = list(self._modules.items())
        items.insert(index, ("0", module))
        self._refill(items)
        return self

    def _refill(self, items: Iterable[tuple[str, Module]]) -> None:
        """Replace all modules; integer names are assigned again, other names stay."""
        items = list(items)
        for name in list(self._modules):
            delattr(self, name)
        for i, (name, module) in enumerate(items):
            self._put(str(i) if name.isdigit() else name, module)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return list(self._modules.values())[index]
        part = type(self)()
        part._refill(list(self._modules.items())[index])
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        self._put(list(self._modules)[index], module)

    def __delitem__(self, index: int | slice) -> None:
        items = list(self._modules.items())
        del items[index]
        self._refill(items)


class Sequential(ModuleList):
    """Modules applied one after another.

    A linear or convolution layer and a ReLU, Tanh or Sigmoid right after it are fused, with the
    same result, unless one of them has a hook.

    Parameters
    ----------
    *modules : Module, or one dict of name → Module

    Raises
    ------
    OptionError
        If an item is no module, or a name is invalid.

    Examples
    --------
    >>> from nnlib import nn
    >>> net = Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> sum(p.size for p in net.parameters())  # the course's 2-3-1 network
    13
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], dict):
            super().__init__()
            for name, module in modules[0].items():
                self._put(name, module)
        else:
            super().__init__(modules)  # type: ignore[arg-type] # it refuses what is no module

    def forward(self, x: Any) -> Any:
        """Apply every module in turn."""
        modules = list(self._modules.values())
        done = False
        for module, behind in zip_longest(modules, modules[1:]):
            if done:  # fused with the module before it
                done = False
                continue
            activation = _fused(module, behind)
            done = activation is not None
            x = module(x, activation=activation) if done else module(x)
        return x


def _fused(module: Module, behind: Module | None) -> str | None:
    """Return the activation that ``module`` can apply in place of the next module, if any."""
    if type(module) not in _FUSING or behind is None:
        return None
    if module._hooks or module._pre_hooks or behind._hooks or behind._pre_hooks:
        return None
    if type(behind) is GELU:
        fits = behind.approximate == "tanh" and type(module) is Linear
        return "gelu_tanh" if fits else None
    return _FUSED.get(type(behind))


class ModuleDict(_Container):
    """Modules by name, for a ``forward`` that selects some of them.

    Parameters
    ----------
    modules : mapping of str to Module

    Raises
    ------
    OptionError
        If an item is no module, or a name is invalid.

    Examples
    --------
    >>> from nnlib import nn
    >>> heads = ModuleDict({"digit": nn.Linear(8, 10), "parity": nn.Linear(8, 2)})
    >>> [name for name, _ in heads.named_parameters()]
    ['digit.weight', 'digit.bias', 'parity.weight', 'parity.bias']
    >>> heads["parity"]
    Linear(in_features=8, out_features=2, bias=True)
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules, or replace those of the same names."""
        if not isinstance(modules, Mapping | ModuleDict):
            raise OptionError(f"ModuleDict needs names and modules. Received: {modules!r}")
        for name, module in modules.items():
            self[name] = module

    def keys(self) -> KeysView[str]:
        """Names, in the order of insertion."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """Modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module]:
        """Names and modules."""
        return self._modules.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self._put(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        delattr(self, name)
