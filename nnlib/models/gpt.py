"""The decoder-only transformer of GPT-2."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from nnlib import nn, ops
from nnlib.autograd import Tensor, zeros
from nnlib.errors import OptionError, ShapeError, StateError
from nnlib.models.gpt2 import read_gpt2
from nnlib.nn.functional.attention import dropout_factor
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_choice
from nnlib.text.generation import LanguageModel
from nnlib_backends import Backend, get_backend, use_backend

__all__ = ["GPT", "Block", "Cache", "CausalSelfAttention", "GPTConfig"]


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and options of a `GPT`; the defaults are GPT-2's smallest.

    Attributes
    ----------
    vocab_size : int
        Number of tokens.
    context : int
        Longest sequence.
    layers, heads, width : int
        Blocks, attention heads in each, and features of a position.
    dropout : float
        Of embeddings, attention weights and the outputs of attention and MLP in each block.
    tied : bool
        Whether the output layer's weight is the embedding's.
    positions : {"learned", "rotary"}
        A learned vector for every position, or queries and keys rotated by an angle proportional
        to the position (Su et al., 2021).
    bias : bool
        Whether linear layers and normalisations have one.

    Examples
    --------
    >>> GPTConfig(vocab_size=65, context=64, layers=4, heads=4, width=128).dropout
    0.0
    """

    vocab_size: int = 50257
    context: int = 1024
    layers: int = 12
    heads: int = 12
    width: int = 768
    dropout: float = 0.0
    tied: bool = True
    positions: str = "learned"
    bias: bool = True

    def __post_init__(self) -> None:
        check_choice(self.positions, ("learned", "rotary"), "positions")
        least = min(self.vocab_size, self.context, self.layers, self.heads, self.width)
        pairs = 2 if self.positions == "rotary" else 1
        if least < 1 or self.width % (self.heads * pairs):
            raise OptionError(
                "sizes must be at least 1, and width a multiple of heads (of twice as many with "
                f"rotary positions). Received: {self}"
            )


class GPT(LanguageModel):
    """Token and position embeddings, blocks of attention and an MLP, logits.

    Source: Radford et al. (2019), with the same names of parameters; blocks normalise first.

    Parameters
    ----------
    config : GPTConfig, optional
    **options
        Those of `GPTConfig`, if no config is given.

    Attributes
    ----------
    config : GPTConfig
    wte, wpe : nn.Embedding
        Of tokens and (if learned) of positions.
    h : nn.ModuleList
        The blocks.
    ln_f : nn.LayerNorm
    lm_head : nn.Linear
        Without bias; its weight is that of ``wte`` if tied.

    Examples
    --------
    >>> model = GPT(vocab_size=65, context=64, layers=2, heads=2, width=32)
    >>> model([[1, 2, 3]]).shape
    (1, 3, 65)
    >>> model.generate([[1, 2, 3]], 5, temperature=0).shape
    (1, 8)
    """

    def __init__(self, config: GPTConfig | None = None, **options: Any) -> None:
        super().__init__()
        if config is not None and options:
            raise OptionError(f"give a config or its options. Received both: {options}")
        self.config = config = config or GPTConfig(**options)
        with nn.init.skip():  # `reset_parameters` draws all
            self._add_parts(config)
        self.reset_parameters()

    @classmethod
    def from_gpt2(
        cls,
        path: str | os.PathLike[str],
        heads: int | None = None,
        backend: Backend | str | None = None,
    ) -> GPT:
        """Load GPT-2's published weights, of any size, from a safetensors file.

        Names may begin with ``"transformer."``; masks are ignored.  Sizes are read from the
        shapes.

        Parameters
        ----------
        path : path
        heads : int, optional
            If not given, from ``config.json`` beside the file, or one for every 64 features.
        backend : Backend or str, optional
            Of the model; the current backend if not given.

        Raises
        ------
        InputError
            If the file cannot be read; where there is none, also a ``FileNotFoundError``.
        FileFormatError
            If it is damaged, or not GPT-2's.
        StateError
            If names are missing or unknown, or shapes do not fit each other.
        OptionError
            If the number of heads is unknown, or does not divide the width.

        Examples
        --------
        ::

            model = GPT.from_gpt2("gpt2/model.safetensors")
            pieces = nnlib.data.BPETokenizer.from_file("gpt2/tokenizer.json")
            for text in nnlib.models.stream_text(model, pieces, "A cat", 40, top_k=50):
                print(text, end="")
        """
        options, state = read_gpt2(path, heads)
        with nn.init.skip(), use_backend(backend or get_backend()):
            model = cls(**options)
        try:
            model.load_state_dict(state)
        except StateError as error:
            raise StateError(f"{path}: {error}") from error
        return model

    def _add_parts(self, config: GPTConfig) -> None:
        self.wte = nn.Embedding(config.vocab_size, config.width)
        if config.positions == "learned":
            self.wpe = nn.Embedding(config.context, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width, bias=config.bias)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.lm_head.weight = self.wte.weight

    def reset_parameters(self) -> None:
        """Draw new initial values, as GPT-2: normal of deviation 0.02, biases 0.

        The output projections of a block are divided by √(2 · layers), so that the residual stream
        does not grow with the depth.
        """
        last = 0.02 / (2 * self.config.layers) ** 0.5
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                std = last if name.endswith("c_proj") else 0.02
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: TensorLike, cache: Cache | None = None) -> Tensor:
        """(B, T) integers → (B, T, vocab_size) logits of the next token.

        Parameters
        ----------
        tokens : Tensor of integers, (B, T)
        cache : Cache, optional
            Keys and values of the positions before these tokens; theirs are appended.

        Raises
        ------
        ShapeError
            If there are more positions than ``context``.
        """
        tokens = as_tensor(tokens, self.wte.weight)
        start = 0 if cache is None else cache.length
        if tokens.ndim != 2 or start + tokens.shape[1] > self.config.context:
            raise ShapeError(
                f"tokens must be (batch, time) with at most {self.config.context} positions in "
                f"all. Received: {tokens.shape} after {start}"
            )
        x = self.wte(tokens)
        if self.config.positions == "learned":
            rows = self.wpe.weight[start : start + tokens.shape[1]]
            x = x + (rows if rows.dtype == x.dtype else rows.astype(x.dtype))  # see autocast
        x = self.drop(x)
        for layer, block in enumerate(self.h):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.lm_head(self.ln_f(x))  # type: ignore[no-any-return]

    def continued(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Compute the logits after some more tokens; the state is all tokens and a `Cache`."""
        seen, cache = (tokens, None) if state is None else state
        if state is not None:
            seen = ops.concatenate([seen, tokens], axis=1)
        context = self.config.context
        if cache is None or cache.length + tokens.shape[1] > context:
            # Positions count from the start of the window, so a full window is computed again,
            # shortened to leave room.
            room = min(context, max(1, context - context // 4))
            tokens = seen if seen.shape[1] <= context else seen[:, -room:]
            cache = Cache(self.config, tokens.shape[0], self.wte.weight)
        return self(tokens, cache)[:, -1], (seen, cache)

    def extra_repr(self) -> str:
        """Return the options."""
        return str(self.config)


class Cache:
    """Keys and values of all positions so far, layer by layer.

    Attributes
    ----------
    length : int
        Number of positions.
    """

    def __init__(self, config: GPTConfig, batch: int, like: Tensor) -> None:
        shape = (batch, config.context, config.heads, config.width // config.heads)
        self.length = 0
        self.keys, self.values = (
            [zeros(shape, dtype=like.dtype, backend=like.backend) for _ in range(config.layers)]
            for _ in range(2)
        )

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, T, heads, D) of a layer; return all of that layer."""
        end = self.length + k.shape[1]
        self.keys[layer][:, self.length : end] = k
        self.values[layer][:, self.length : end] = v
        return self.keys[layer][:, :end], self.values[layer][:, :end]


class Block(nn.Module):
    """Causal self-attention, then an MLP, each added to its input."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.width, bias=config.bias)
        self.mlp = nn.Sequential(
            {
                "c_fc": nn.Linear(config.width, 4 * config.width, config.bias),
                "act": nn.GELU("tanh"),
                "c_proj": nn.Linear(4 * config.width, config.width, config.bias),
                "drop": nn.Dropout(config.dropout),
            }
        )

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """(B, T, width), and out comes the same shape."""
        x = x + self.attn(self.ln_1(x), cache, layer)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class CausalSelfAttention(nn.Module):
    """Attention of every position to itself and those before it."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads, self.context, self.p = config.heads, config.context, config.dropout
        self.rotary = config.positions == "rotary"
        self.c_attn = nn.Linear(config.width, 3 * config.width, config.bias)
        self.c_proj = nn.Linear(config.width, config.width, config.bias)
        self.drop = nn.Dropout(config.dropout)
        if self.rotary:
            for name, table in rotation(config.context, config.width // config.heads, self.c_attn):
                self.register_buffer(name, table, persistent=False)

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """(B, T, width), and out comes the same shape."""
        B, T, width = x.shape
        start = 0 if cache is None else cache.length
        qkv = self.c_attn(x).reshape(B, T, 3, self.heads, width // self.heads)
        factor = None
        if self.training and self.p:
            factor = dropout_factor((B, self.heads, T, start + T), self.p, x)
        if cache is None and not self.rotary:
            y = ops.self_attention(qkv, None, factor, causal=True)
        else:
            q, k, v = (qkv[:, :, part] for part in range(3))
            if self.rotary:
                q, k = (self._turn(z, start) for z in (q, k))
            if cache is not None:
                k, v = cache.extend(layer, k, v)
            y = ops.attention(q, k, v, None, factor, causal=True)
        return self.drop(self.c_proj(y.reshape(B, T, width)))  # type: ignore[no-any-return]

    def _turn(self, x: Tensor, start: int) -> Tensor:
        """Rotate each pair of features (i, i + D/2) by an angle proportional to the position."""
        steps, half = slice(start, start + x.shape[1]), x.shape[-1] // 2
        cos, sin = self.cos[steps], self.sin[steps]  # (T, 1, D/2)
        a, b = x[..., :half], x[..., half:]
        return ops.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotation(context: int, features: int, like: nn.Linear) -> list[tuple[str, Tensor]]:
    """Cosines and sines of the angles ``position / 10000 ** (2 i / D)``: (context, 1, D/2)."""
    backend = like.weight.backend
    xp = backend.xp
    rates = 10000.0 ** (-2.0 * xp.arange(features // 2) / features)
    angles = (xp.arange(context)[:, None] * rates)[:, None]
    tables = (("cos", xp.cos(angles)), ("sin", xp.sin(angles)))
    return [(name, Tensor(table.astype("float32"), backend)) for name, table in tables]
