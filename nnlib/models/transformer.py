"""The encoder–decoder transformer, for translation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnlib import nn, ops
from nnlib.autograd import Tensor, no_grad
from nnlib.errors import OptionError, ShapeError
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_choice, check_fraction
from nnlib.text.beam import search

__all__ = ["DecoderCache", "Transformer", "TransformerConfig"]


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and options of a `Transformer`.

    Attributes
    ----------
    vocab_size : int
        Number of tokens; both languages share them.
    context : int
        Longest sequence, of either side.
    layers : int
        Layers of the encoder, and of the decoder.
    heads, width, hidden : int
        Attention heads in a layer, features of a position, neurons of a layer's MLP.
    dropout : float
        Of embeddings and of the outputs of attention and MLP.
    attention_dropout : float
        Of attention weights.
    positions : {"sinusoidal", "learned"}
        Sines and cosines of the position (Vaswani et al., 2017, section 3.5), or a learned vector
        for every position.
    padding, start, end : int
        The tokens that pad a batch, begin a target, and end a sequence.

    Raises
    ------
    OptionError
        If sizes do not fit together or the three tokens are not three of the vocabulary.

    Examples
    --------
    >>> TransformerConfig(vocab_size=4000, layers=2).width
    256
    """

    vocab_size: int
    context: int = 128
    layers: int = 3
    heads: int = 4
    width: int = 256
    hidden: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.0
    positions: str = "sinusoidal"
    padding: int = 0
    start: int = 1
    end: int = 2

    def __post_init__(self) -> None:
        check_choice(self.positions, ("sinusoidal", "learned"), "positions")
        check_fraction(self.dropout, "dropout")
        check_fraction(self.attention_dropout, "attention_dropout")
        sizes = (self.vocab_size, self.context, self.layers, self.heads, self.width, self.hidden)
        if min(sizes) < 1 or self.width % self.heads or self.width % 2:
            raise OptionError(
                "sizes must be at least 1, and width even and a multiple of heads. "
                f"Received: {self}"
            )
        special = {self.padding, self.start, self.end}
        if len(special) < 3 or not all(0 <= token < self.vocab_size for token in special):
            raise OptionError(
                f"padding, start and end must be three of the {self.vocab_size} tokens. "
                f"Received: {self.padding}, {self.start}, {self.end}"
            )


class Transformer(nn.Module):
    """An encoder of the source and a decoder that generates the target, token by token.

    Source: Vaswani et al. (2017), except that layers normalise first (Xiong et al., 2020), which
    trains without warm-up.  Encoder and decoder have PyTorch's names, so a state
    dict of ``torch.nn.Transformer(norm_first=True, activation="relu")`` fits them.  One table of
    embeddings serves both sides and, transposed, the output.

    Parameters
    ----------
    config : TransformerConfig, optional
    **options
        Those of `TransformerConfig`, if no config is given.

    Attributes
    ----------
    config : TransformerConfig
    embedding : nn.Embedding
        Initially normal with deviation 1/√width; multiplied by √width after the lookup.
    encoder, decoder : nn.Module

    Examples
    --------
    >>> model = Transformer(vocab_size=50, layers=1, heads=2, width=16, hidden=32)
    >>> model([[5, 6, 2]], [[1, 7, 8, 9]]).shape  # logits of what follows each target token
    (1, 4, 50)
    >>> model.eval().generate([[5, 6, 2]], 7).shape[0]
    1
    """

    table: Tensor

    def __init__(self, config: TransformerConfig | None = None, **options: Any) -> None:
        super().__init__()
        if config is not None and options:
            raise OptionError(f"give a config or its options. Received both: {options}")
        self.config = config = config or TransformerConfig(**options)
        with nn.init.skip():  # `reset_parameters` draws these anew
            self.embedding = nn.Embedding(config.vocab_size, config.width)
            if config.positions == "learned":
                self.positions = nn.Embedding(config.context, config.width)
        if config.positions == "sinusoidal":
            self.register_buffer("table", _waves(config, self.embedding.weight), persistent=False)
        self.drop = nn.Dropout(config.dropout)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: Xavier-uniform matrices, biases 0."""
        std = self.config.width**-0.5
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=std)
            elif isinstance(module, nn.MultiheadAttention):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, source: TensorLike, target: TensorLike) -> Tensor:
        """Compute logits of the token after every target token.

        Parameters
        ----------
        source : Tensor of integers, (B, S)
            Padded with the padding token.
        target : Tensor of integers, (B, T)
            Begins with the start token; padding at its end has no effect on earlier positions.

        Returns
        -------
        Tensor, (B, T, vocab_size)

        Raises
        ------
        ShapeError
            If one is longer than ``context``, or no batch.
        """
        memory, hidden = self.encode(source)
        return self.decode(target, memory, hidden)

    def encode(self, source: TensorLike) -> tuple[Tensor, Tensor]:
        """(B, S) integers → the encoder's output (B, S, width), and the mask of padding."""
        source = as_tensor(source, self.embedding.weight)
        hidden = source == self.config.padding
        return self.encoder(self._embed(source, 0), hidden), hidden

    def decode(self, target: TensorLike, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, T) integers and the results of `encode` → logits (B, T, vocab_size)."""
        target = as_tensor(target, self.embedding.weight)
        return self._logits(self.decoder(self._embed(target, 0), memory, hidden))

    def decode_next(self, target: TensorLike, cache: DecoderCache) -> Tensor:
        """Compute logits (B, T, vocab_size) for tokens (B, T) that follow those in the cache.

        Keys and values of these tokens are added to it.  For inference: without dropout.

        Examples
        --------
        >>> model = Transformer(vocab_size=50, layers=1, heads=2, width=16, hidden=32).eval()
        >>> cache = DecoderCache(model, *model.encode([[5, 6, 2]]))
        >>> model.decode_next([[1]], cache).shape, model.decode_next([[7]], cache).shape
        ((1, 1, 50), (1, 1, 50))
        """
        target = as_tensor(target, self.embedding.weight)
        x = self._embed(target, cache.length)
        for number, layer in enumerate(self.decoder.layers):
            x = layer.advance(x, cache, number)
        cache.length += target.shape[1]
        return self._logits(self.decoder.norm(x))

    def alignment(self, source: TensorLike, target: TensorLike, layer: int = -1) -> Tensor:
        """Return the attention of each target position to each source position: (B, T, S).

        Parameters
        ----------
        source, target : Tensor of integers, (B, S) and (B, T)
            As for a call.
        layer : int
            Of the decoder; the mean of its heads is returned.
        """
        with no_grad():
            memory, hidden = self.encode(source)
            x = self._embed(as_tensor(target, self.embedding.weight), 0)
            layers = list(self.decoder.layers)
            for block in layers[: layer % len(layers)]:
                x = block(x, memory, hidden)
            weights: Tensor = layers[layer].look(x, memory, hidden)
            return weights

    def generate(
        self,
        source: TensorLike,
        max_new_tokens: int | None = None,
        beam: int = 1,
        length_penalty: float = 1.0,
    ) -> Tensor:
        """Generate targets.  Call ``eval()`` before, or dropout is applied.

        Parameters
        ----------
        source : Tensor of integers, (B, S)
            Padded with the padding token.
        max_new_tokens : int, optional
            Longest target; ``context`` if not given.
        beam : int
            Number of hypotheses kept at each step; 1 takes the likeliest token (greedy).
        length_penalty : float
            Hypotheses are ranked by log-probability / length ** length_penalty: 0 prefers short
            ones, 1 compares means over the tokens.

        Returns
        -------
        Tensor of integers, (B, at most max_new_tokens)
            Without the start token; padding follows the end token.

        Raises
        ------
        OptionError
            If ``beam`` or ``max_new_tokens`` is below 1, or ``max_new_tokens`` above ``context``.
        """
        context = self.config.context
        steps = context if max_new_tokens is None else max_new_tokens
        if not 1 <= steps <= context:
            raise OptionError(
                f"max_new_tokens must be in 1 … context = {context}. Received: {max_new_tokens}"
            )
        most = self.config.vocab_size - 2  # number of possible first tokens
        if not 1 <= beam <= most:
            raise OptionError(f"beam must be in 1 … vocab_size - 2 = {most}. Received: {beam}")
        with no_grad():
            cache = DecoderCache(self, *self.encode(source))
            cache.repeat(beam)
            return search(
                lambda tokens: self.decode_next(tokens, cache)[:, -1],
                cache.reorder,
                self.config,
                cache.batch,
                steps,
                beam,
                length_penalty,
                self.embedding.weight,
            )

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        end = start + (tokens.shape[1] if tokens.ndim == 2 else 0)
        if tokens.ndim != 2 or end > self.config.context:
            raise ShapeError(
                f"tokens must be (batch, time) with at most {self.config.context} positions in "
                f"all. Received: {tokens.shape} after {start}"
            )
        learned = self.config.positions == "learned"
        rows = (self.positions.weight if learned else self.table)[start:end]
        x = self.embedding(tokens) * self.config.width**0.5
        x = x + (rows if rows.dtype == x.dtype else rows.astype(x.dtype))  # see autocast
        return self.drop(x)  # type: ignore[no-any-return]

    def _logits(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.embedding.weight)

    def extra_repr(self) -> str:
        """Return the options."""
        return str(self.config)


class Encoder(nn.Module):
    """Layers of self-attention over the source; a normalisation at the end."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(B, S, width) and what is padding (B, S) → (B, S, width)."""
        for layer in self.layers:
            x = layer(x, hidden)
        return self.norm(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Layers of causal self-attention and of attention to the source."""

    layers: Any  # a ModuleList of DecoderLayer

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, T, width), memory (B, S, width), its padding (B, S) → (B, T, width)."""
        for layer in self.layers:
            x = layer(x, memory, hidden)
        return self.norm(x)  # type: ignore[no-any-return]


class Attention(nn.MultiheadAttention):
    """Attention with separate functions for keys and values, so that they can be cached."""

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, width) → keys and values, (B, S, heads, D) each."""
        return self._project(x, 1), self._project(x, 2)

    def ask(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Compute the attention of positions (B, T, width) to keys that the mask allows."""
        y = ops.attention(self._project(x, 0), k, v, mask, None, causal=causal)
        return self.out_proj(y.reshape(x.shape))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Base class of encoder and decoder layers."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.width, config.heads, config.attention_dropout)
        self.linear1 = nn.Linear(config.width, config.hidden)
        self.linear2 = nn.Linear(config.hidden, config.width)
        self.drop = nn.Dropout(config.dropout)

    def _feed(self, x: Tensor) -> Tensor:
        return self.drop(self.linear2(self.drop(self.linear1(x, activation="relu"))))  # type: ignore[no-any-return]


class EncoderLayer(Layer):
    """Self-attention and an MLP."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(B, S, width) and what is padding (B, S) → (B, S, width)."""
        y = self.norm1(x)
        x = x + self.drop(self.self_attn(y, y, y, key_padding_mask=hidden)[0])
        return x + self._feed(self.norm2(x))


class DecoderLayer(Layer):
    """Causal self-attention, attention to the source, and an MLP."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.multihead_attn = Attention(config.width, config.heads, config.attention_dropout)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.norm3 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, T, width), memory (B, S, width), its padding (B, S) → (B, T, width)."""
        x = self._before(x)
        answer, _ = self.multihead_attn(self.norm2(x), memory, memory, key_padding_mask=hidden)
        x = x + self.drop(answer)
        return x + self._feed(self.norm3(x))

    def look(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """Return the weights (B, T, S) of the attention to the memory."""
        y = self.norm2(self._before(x))
        return self.multihead_attn(y, memory, memory, hidden, need_weights=True)[1]  # type: ignore[no-any-return]

    def _before(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        return x + self.drop(self.self_attn(y, y, y, is_causal=True)[0])  # type: ignore[no-any-return]

    def advance(self, x: Tensor, cache: DecoderCache, number: int) -> Tensor:
        """Compute `forward` for positions (B, T, width) that follow those in the cache."""
        y = self.norm1(x)
        k, v = cache.extend(number, *self.self_attn.keys_and_values(y))
        x = x + self.self_attn.ask(y, k, v, None, causal=True)
        k, v = cache.memory[number]
        x = x + self.multihead_attn.ask(self.norm2(x), k, v, cache.seen, causal=False)
        return x + self._feed(self.norm3(x))


class DecoderCache:
    """Keys and values of the source and of the target so far, layer by layer.

    Parameters
    ----------
    model : Transformer
    memory, hidden : Tensor
        Results of `Transformer.encode`.

    Attributes
    ----------
    length : int
        Number of target positions.
    batch : int
    """

    def __init__(self, model: Transformer, memory: Tensor, hidden: Tensor) -> None:
        self.length, self.batch = 0, memory.shape[0]
        self.memory = [
            layer.multihead_attn.keys_and_values(memory) for layer in model.decoder.layers
        ]
        self.seen = (~hidden).reshape(self.batch, 1, 1, -1)
        self.target: list[tuple[Tensor, Tensor] | None] = [None] * model.config.layers

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, T, heads, D) of a layer; return all of that layer."""
        before = self.target[layer]
        if before is not None:
            k, v = (ops.concatenate(pair, axis=1) for pair in zip(before, (k, v), strict=True))
        self.target[layer] = k, v
        return k, v

    def repeat(self, times: int) -> None:
        """Repeat every source for several targets, which are neighbours in the batch."""
        if times > 1:
            rows = Tensor(self.seen.backend.xp.arange(self.batch).repeat(times), self.seen.backend)
            self.memory = [(k[rows], v[rows]) for k, v in self.memory]
            self.seen = self.seen[rows]

    def reorder(self, rows: Tensor) -> None:
        """Select the targets at these rows (B,), which must have the same sources as before."""
        self.target = [pair and (pair[0][rows], pair[1][rows]) for pair in self.target]


def _waves(config: TransformerConfig, like: Tensor) -> Tensor:
    """Sines, then cosines, of ``position / 10000 ** (2 i / width)``: (context, width)."""
    xp = like.backend.xp
    rates = 10000.0 ** (-2.0 * xp.arange(config.width // 2) / config.width)
    angles = xp.arange(config.context)[:, None] * rates
    table = xp.concatenate([xp.sin(angles), xp.cos(angles)], axis=1)
    return Tensor(table.astype("float32"), like.backend)
