"""Observe the layers of a model during a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.nn.inference import inference

__all__ = ["Call", "Shape", "watch_forward"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One call of a layer: input shape and result."""

    name: str
    module: nn.Module
    input_shape: Shape
    output_shape: Shape
    itemsize: int
    own: dict[str, Shape]  # shapes of its parameters
    counted: int  # values of parameters that no earlier call counted


def watch_forward(model: nn.Module, x: Tensor) -> list[Call]:
    """Run a model in evaluation mode; return every call of every layer."""
    calls: list[Call] = []
    seen: set[int] = set()

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            result = _first_tensor(output)
            source = _first_tensor(inputs)
            own = module._parameters
            new = [p for p in own.values() if id(p) not in seen]
            seen.update(map(id, new))
            calls.append(
                Call(
                    name=name or type(module).__name__,
                    module=module,
                    input_shape=() if source is None else source.shape,
                    output_shape=() if result is None else result.shape,
                    itemsize=0 if result is None else result.dtype.itemsize,
                    own={k: p.shape for k, p in own.items()},
                    counted=sum(p.size for p in new),
                )
            )

        return hook

    layers = [(name, m) for name, m in model.named_modules() if not m._modules or m._parameters]
    removers = [m.register_forward_hook(watch(name)) for name, m in layers]
    try:
        with inference(model):
            model(x)
    finally:
        for remove in removers:
            remove()
    return calls


def _first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor of nested tuples, such as a recurrent layer's output and state."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None
