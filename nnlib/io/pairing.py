"""Pair the layers of a state dict with those of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnlib.errors import StateError
from nnlib.nn import Module

__all__ = ["Layer", "in_order", "layers_of", "pairs"]

_MAX_SHOWN = 20  # layers of each side in an error
_MAX_DEPTH = 64  # parts of a name


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes
    ----------
    path : str
        Path in its module, such as ``"features.0"``.
    values : mapping of str to array, or list of array
        Arrays by role, such as ``"weight"`` and ``"bias"``, or in order.
    """

    path: str
    values: Any

    def name(self, role: str) -> str:
        """Return the name of a value in a state dict."""
        return f"{self.path}.{role}" if self.path else role


def layers_of(state: Mapping[str, Any]) -> list[Layer]:
    """Group a state dict by layers.

    Examples
    --------
    >>> [layer.path for layer in layers_of({"a.weight": 1, "a.bias": 2, "b.0.weight": 3})]
    ['a', 'b.0']
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        path, _, role = name.rpartition(".")
        groups.setdefault(path, {})[role] = value
    return [Layer(path, values) for path, values in groups.items()]


def pairs(theirs: Sequence[Layer], module: Module) -> Iterator[tuple[Layer, Layer]]:
    """Pair the layers of a state with those of a module: by equal names, else in order.

    Raises
    ------
    StateError
        If the numbers of layers differ.

    Examples
    --------
    >>> from nnlib import nn
    >>> b = nn.Sequential(nn.ReLU(), nn.Linear(1, 1))
    >>> module = nn.Sequential({"a": nn.Linear(1, 1), "b": b})
    >>> theirs = [Layer("b.0", {}), Layer("a", {})]
    >>> [(their.path, own.path) for their, own in pairs(theirs, module)]
    [('a', 'a'), ('b.0', 'b.1')]
    """
    for layer in theirs:
        if layer.path.count(".") > _MAX_DEPTH:
            raise StateError(
                f"a name must have at most {_MAX_DEPTH} parts. Received: {layer.path!r:.80}"
            )
    return _pairs(_branch(theirs), _branch(layers_of(module.state_dict())))


Branch = Sequence[tuple[list[str], Layer]]  # pairs (remaining path, layer)


def _branch(layers: Sequence[Layer]) -> Branch:
    return [(layer.path.split("."), layer) for layer in layers]


def _pairs(theirs: Branch, ours: Branch) -> Iterator[tuple[Layer, Layer]]:
    if len(theirs) == len(ours) == 1:
        yield theirs[0][1], ours[0][1]
        return
    their_children, own_children = _children(theirs), _children(ours)
    if their_children.keys() == own_children.keys():
        for name, branch in own_children.items():
            yield from _pairs(their_children[name], branch)
    elif len(their_children) == 1 and len(theirs) > 1:  # a prefix, such as "module."
        yield from _pairs(next(iter(their_children.values())), ours)
    elif len(own_children) == 1 and len(ours) > 1:
        yield from _pairs(theirs, next(iter(own_children.values())))
    else:
        yield from in_order(list(_sorted(theirs)), [layer for _, layer in ours])


def _children(branch: Branch) -> dict[str, Branch]:
    children: dict[str, list[tuple[list[str], Layer]]] = {}
    for path, layer in branch:
        children.setdefault(path[0] if path else "", []).append((path[1:], layer))
    return dict(children)


def _sorted(branch: Branch) -> Iterator[Layer]:
    """Yield layers in order, numbered ones by their numbers: files may have 10 before 2."""
    if len(branch) == 1:
        yield branch[0][1]
        return
    children = _children(branch)
    names = sorted(children, key=int) if all(map(str.isdecimal, children)) else list(children)
    for name in names:
        yield from _sorted(children[name])


def in_order(theirs: Sequence[Layer], ours: Sequence[Layer]) -> Iterator[tuple[Layer, Layer]]:
    """Pair layers in their order.

    Raises
    ------
    StateError
        If the numbers of layers differ.
    """
    if len(theirs) != len(ours):
        raise StateError(
            "both sides must have the same number of layers with weights. Received: "
            f"{len(theirs)}, {_names(theirs)}, for the module's {len(ours)}, {_names(ours)}. "
            "Replace a head after loading, or convert for a part of the module"
        )
    return zip(theirs, ours, strict=True)


def _names(layers: Sequence[Layer]) -> str:
    names = [layer.path or "(itself)" for layer in layers[:_MAX_SHOWN]]
    return ", ".join(names) + (", …" if len(layers) > _MAX_SHOWN else "")
