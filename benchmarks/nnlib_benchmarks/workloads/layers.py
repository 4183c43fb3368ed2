"""A model as a list of layers, from which nnlib and every peer build the same model.

A layer is a dictionary for JSON.  Layers with weights take them in the order of
nnlib's state: weight, bias, weight, bias, …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from nnlib import Tensor, models, nn
from nnlib_benchmarks import flops

Layer: TypeAlias = dict[str, Any]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def linear(inputs: int, outputs: int) -> Layer:
    """Describe a fully connected layer."""
    return {"kind": "linear", "inputs": inputs, "outputs": outputs}


def conv(inputs: int, outputs: int, kernel: int, padding: int = 0, stride: int = 1) -> Layer:
    """Describe a convolution with a square kernel."""
    return {
        "kind": "conv", "inputs": inputs, "outputs": outputs, "kernel": kernel,
        "padding": padding, "stride": stride,
    }  # fmt: skip


def pool(kind: str, size: int = 2) -> Layer:
    """Describe non-overlapping pooling, ``"maxpool"`` or ``"avgpool"``."""
    return {"kind": kind, "size": size}


def activation(name: str) -> Layer:
    """Describe an activation: one of `ACTIVATIONS`."""
    return {"kind": name}


def lstm(inputs: int, outputs: int) -> Layer:
    """Describe an LSTM from sequences (batch, time, inputs) to the last step's output."""
    return {"kind": "lstm", "inputs": inputs, "outputs": outputs}


def gpt(vocabulary: int, context: int, blocks: int, heads: int, width: int) -> Layer:
    """Describe `nnlib.models.GPT` with default options, from tokens to logits."""
    return {
        "kind": "gpt", "vocabulary": vocabulary, "context": context, "blocks": blocks,
        "heads": heads, "width": width,
    }  # fmt: skip


FLATTEN: Layer = {"kind": "flatten"}  #: images, in the order height, width, channels, to rows


def mlp(sizes: Sequence[int], hidden: str = "relu") -> list[Layer]:
    """Describe fully connected layers with an activation between them.

    Examples
    --------
    >>> [layer["kind"] for layer in mlp((64, 300, 10))]
    ['linear', 'relu', 'linear']
    """
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs), activation(hidden)]
    return layers[:-1]


class LastOutput(nn.Module):
    """An LSTM whose output is that of the last step."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, inputs) → (B, outputs)."""
        y, _ = self.lstm(x)
        return y[:, -1]  # type: ignore[no-any-return]


def build(layers: Sequence[Layer]) -> nn.Sequential:
    """Make nnlib's model.

    Examples
    --------
    >>> build(mlp((6, 8, 3)))
    Sequential(
      (0): Linear(in_features=6, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )
    """
    return nn.Sequential(*map(_module, layers))


def _module(layer: Layer) -> nn.Module:
    kind = layer["kind"]
    if kind == "linear":
        return nn.Linear(layer["inputs"], layer["outputs"])
    if kind == "conv":
        return nn.Conv2d(
            layer["inputs"],
            layer["outputs"],
            layer["kernel"],
            stride=layer["stride"],
            padding=layer["padding"],
        )
    if kind == "lstm":
        return LastOutput(layer["inputs"], layer["outputs"])
    if kind == "gpt":
        return models.GPT(
            vocab_size=layer["vocabulary"],
            context=layer["context"],
            layers=layer["blocks"],
            heads=layer["heads"],
            width=layer["width"],
        )
    if kind == "maxpool":
        return nn.MaxPool2d(layer["size"])
    if kind == "avgpool":
        return nn.AvgPool2d(layer["size"])
    return nn.Flatten() if kind == "flatten" else ACTIVATIONS[kind]()


def operations(layers: Sequence[Layer], shape: Sequence[int], batch: int) -> list[int]:
    """Forward operations of each matrix product in order (see `nnlib_benchmarks.flops`).

    Parameters
    ----------
    layers : sequence of dict
        The model.
    shape : sequence of int
        Of one example: (features,), (height, width, channels), (time, features) or (time,).
    batch : int
        Examples.

    Examples
    --------
    >>> operations(mlp((784, 300, 10)), (784,), batch=1)
    [470400, 6000]
    """
    found = []
    height, width = (*shape, 1, 1)[:2]
    for layer in layers:
        kind = layer["kind"]
        if kind == "linear":
            found.append(flops.linear(batch, layer["inputs"], layer["outputs"]))
        elif kind == "conv":
            n, margin, stride = layer["kernel"], 2 * layer["padding"], layer["stride"]
            height, width = ((side + margin - n) // stride + 1 for side in (height, width))
            channels = (layer["inputs"], layer["outputs"])
            found.append(flops.conv(batch, (height, width), channels, (n, n)))
        elif kind in ("maxpool", "avgpool"):
            height, width = height // layer["size"], width // layer["size"]
        elif kind == "lstm":
            positions, gates = batch * shape[0], 4 * layer["outputs"]
            found.append(flops.linear(positions, layer["inputs"], gates))
            found.append(flops.linear(positions, layer["outputs"], gates))
        elif kind == "gpt":
            found += _gpt_operations(layer, batch, shape[0])
    return found


def _gpt_operations(layer: Layer, batch: int, time: int) -> list[int]:
    width, positions = layer["width"], batch * time
    block = [
        flops.linear(positions, width, 3 * width),
        flops.causal_attention(batch, time, width),
        flops.linear(positions, width, width),
        flops.linear(positions, width, 4 * width),
        flops.linear(positions, 4 * width, width),
    ]
    embedding = 0  # a lookup, and the first layer, whose input needs no gradient
    logits = flops.linear(positions, width, layer["vocabulary"])
    return [embedding, *layer["blocks"] * block, logits]
