"""Sequences in PyTorch: an LSTM, and nnlib's GPT from PyTorch's own parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class LastOutput(nn.Module):  # type: ignore[misc]
    """An LSTM whose output is that of the last step."""

    def __init__(self, layer: dict[str, Any]) -> None:
        super().__init__()
        self.lstm = nn.LSTM(layer["inputs"], layer["outputs"], batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, inputs) → (B, outputs)."""
        return self.lstm(x)[0][:, -1]


class GPT(nn.Module):  # type: ignore[misc]
    """Embeddings, blocks, and logits by the weights of the token embedding."""

    def __init__(self, layer: dict[str, Any]) -> None:
        super().__init__()
        width = layer["width"]
        self.tokens = nn.Embedding(layer["vocabulary"], width)
        self.positions = nn.Embedding(layer["context"], width)
        self.blocks = nn.Sequential(*(Block(width, layer["heads"]) for _ in range(layer["blocks"])))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) → (B, T, vocabulary)."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


class Block(nn.Module):  # type: ignore[misc]
    """Attention, then a network of two layers, each added to its normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_2 = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, width), and out comes the same shape."""
        x = x + self.attention(self.norm_1(x))
        return x + self.network(self.norm_2(x))


class Attention(nn.Module):  # type: ignore[misc]
    """Causal attention by `F.scaled_dot_product_attention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, width), and out comes the same shape."""
        parts = self.project(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(1, 2) for part in parts.unbind(2))  # (B, heads, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


def with_weights(module: nn.Module, weights: Iterator[Any]) -> nn.Module:
    """Assign the next weights to a module whose parameters are in the order of nnlib's state."""
    for parameter in module.parameters():
        parameter.data = torch.from_numpy(next(weights))
    return module


SEQUENCE_LAYERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {"lstm": LastOutput, "gpt": GPT}
"""Kind of layer → module."""
