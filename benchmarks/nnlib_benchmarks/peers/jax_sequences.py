"""Sequences in JAX: an LSTM by `jax.lax.scan` over time, and nnlib's GPT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

EPSILON = 1e-5  #: of the layer normalisation


def lstm(weights: Iterator[Any], x: Any) -> Any:
    """Run an LSTM over (B, T, inputs); return its last output.

    The inputs of all steps are multiplied at once, before the loop; unrolling it made it slower.
    """
    of_input, recurrent = next(weights), next(weights)
    bias = next(weights) + next(weights)
    driven = jnp.swapaxes(x, 0, 1) @ of_input + bias  # (T, B, 4·outputs)

    def step(state: Any, driven: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(driven + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
    (h, _), _ = jax.lax.scan(step, (zero, zero), driven)
    return h


def gpt(layer: dict[str, Any], weights: Iterator[Any], tokens: Any) -> Any:
    """(B, T) tokens → (B, T, vocabulary) logits."""
    embedding, positions = next(weights), next(weights)
    x = embedding[tokens] + positions[: tokens.shape[1]]
    for _ in range(layer["blocks"]):
        y = _normalise(weights, x)
        x = x + _attend(layer["heads"], weights, y)
        y = _normalise(weights, x)
        y = jax.nn.gelu(_linear(weights, y), approximate=True)
        x = x + _linear(weights, y)
    return _product(_normalise(weights, x), embedding.T)


def _linear(weights: Iterator[Any], x: Any) -> Any:
    return _product(x, next(weights)) + next(weights)


def _product(x: Any, weight: Any) -> Any:
    """One product for all positions: an eighth of a step faster than one for each sequence."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], -1)


def _normalise(weights: Iterator[Any], data: Any) -> Any:
    """In float32, whatever the precision of the data."""
    x = data.astype("float32")
    x = x - x.mean(axis=-1, keepdims=True)
    deviation = jnp.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    return (x / deviation * next(weights) + next(weights)).astype(data.dtype)


def _attend(heads: int, weights: Iterator[Any], x: Any) -> Any:
    batch, time, width = x.shape
    parts = _linear(weights, x).reshape(batch, time, 3, heads, -1)
    if x.dtype == "bfloat16" and jax.default_backend() == "gpu":
        q, k, v = (parts[:, :, part] for part in range(3))  # (B, T, heads, D)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn")
        return _linear(weights, y.reshape(batch, time, width))
    q, k, v = (parts[:, :, part].swapaxes(1, 2) for part in range(3))  # (B, heads, T, D)
    scores = q @ k.swapaxes(2, 3) / (width // heads) ** 0.5
    seen = jnp.tril(jnp.ones((time, time), bool))
    y = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)) @ v
    return _linear(weights, y.swapaxes(1, 2).reshape(batch, time, width))


def _gpt_weights(layer: dict[str, Any]) -> list[str]:
    norm, linear = ["norm", "norm"], ["product", "bias"]
    block = [*norm, *linear, *linear, *norm, *linear, *linear]
    return ["tokens", "positions", *layer["blocks"] * block, *norm]


SEQUENCE_WEIGHTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "lstm": lambda layer: ["product", "product", "bias", "bias"],
    "gpt": _gpt_weights,
}
"""Kind of layer → what each of its weights is; a ``"product"``'s is stored (in, out) here."""
