"""PyTorch's modules by their names, each with nnlib's module of the same name.

As in `operators`, what differs is translated here: an adapter makes nnlib's module of the
arguments of PyTorch's constructor, and calls it with PyTorch's inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peers.operators import NotInNnlib, batched, channels_first, channels_last, classes_last, only

import nnlib
from nnlib import nn

__all__ = ["MODULES", "Adapter"]


def as_it_is(module: Any, *args: Any, **options: Any) -> Any:
    return module(*args, **options)


def on_channels(module: Any, input: Any) -> Any:
    """Inputs of shape (N, C, …)."""
    return module(input) if input.ndim < 3 else channels_first(module(channels_last(input)))


def images(ndim: int) -> Callable[..., Any]:
    """Inputs of shape (N, C, …) with ``ndim`` axes, or one of them without N."""

    def call(module: Any, input: Any) -> Any:
        x, single = batched(input, ndim)
        y = channels_first(module(channels_last(x)))
        return y[0] if single else y

    return call


@dataclass(frozen=True)
class Adapter:
    """How to make and to call nnlib's module in place of PyTorch's."""

    make: Callable[..., Any]
    call: Callable[..., Any] = as_it_is


MODULES: dict[str, Adapter] = {}

for _name in (
    "ELU", "GELU", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "MSELoss", "ReLU",
    "ReLU6", "SELU", "SiLU", "Sigmoid", "Softsign", "Tanh", "HuberLoss", "SmoothL1Loss",
    "L1Loss", "KLDivLoss", "BCELoss", "BCEWithLogitsLoss", "LayerNorm", "Embedding",
    "Softmax", "LogSoftmax",
):  # fmt: skip
    MODULES[_name] = Adapter(getattr(nn, _name))


def softplus(beta: float = 1.0, threshold: float = 20.0) -> Any:
    only(threshold, 20, 20.0, what="threshold")
    return nn.Softplus(beta)


def rms_norm(normalized_shape: Any, eps: Any = None, elementwise_affine: bool = True) -> Any:
    if eps is None:
        raise NotInNnlib("eps=None, which depends on the dtype")
    return nn.RMSNorm(tuple(normalized_shape), eps, elementwise_affine)


def without_bias_option(cls: Any) -> Callable[..., Any]:
    """Norms whose bias alone cannot be left out."""

    def make(*args: Any, bias: bool = True, **options: Any) -> Any:
        only(bias, True, what="bias")
        return cls(*args, **options)

    return make


def pooling(cls: Any) -> Callable[..., Any]:
    def make(
        kernel_size: Any, stride: Any = None, padding: Any = 0, *, return_indices: bool = False,
        divisor_override: Any = None,
    ) -> Any:  # fmt: skip
        only(return_indices, False, what="return_indices")
        only(divisor_override, None, what="divisor_override")
        return cls(kernel_size, stride, padding)

    return make


def adaptive(output_size: Any) -> Any:
    if isinstance(output_size, tuple) and None in output_size:
        raise NotInNnlib("output_size=None")
    return nn.AdaptiveAvgPool2d(output_size)


def classes(module: Any, input: Any, target: Any) -> Any:
    soft = target.dtype.kind == "f"
    return module(classes_last(input), classes_last(target) if soft else target)


def convolution(cls: Any) -> Callable[..., Any]:
    def make(*args: Any, padding_mode: str = "zeros", **options: Any) -> Any:
        only(padding_mode, "zeros", what="padding_mode")
        return cls(*args, **options)

    return make


MODULES |= {
    "Linear": Adapter(nn.Linear, lambda module, input: module(input)),
    "Softplus": Adapter(softplus),
    "RMSNorm": Adapter(rms_norm),
    "PReLU": Adapter(nn.PReLU, on_channels),
    "GroupNorm": Adapter(without_bias_option(nn.GroupNorm), on_channels),
    "BatchNorm1d": Adapter(without_bias_option(nn.BatchNorm1d), on_channels),
    "BatchNorm2d": Adapter(without_bias_option(nn.BatchNorm2d), on_channels),
    "Conv1d": Adapter(convolution(nn.Conv1d), images(3)),
    "Conv2d": Adapter(convolution(nn.Conv2d), images(4)),
    "MaxPool2d": Adapter(pooling(nn.MaxPool2d), images(4)),
    "AvgPool2d": Adapter(pooling(nn.AvgPool2d), images(4)),
    "AdaptiveAvgPool2d": Adapter(adaptive, images(4)),
    "NLLLoss": Adapter(nn.NLLLoss, classes),
    "CrossEntropyLoss": Adapter(nn.CrossEntropyLoss, classes),
}


def time_first(x: Any) -> Any:
    """PyTorch's sequences are (T, N, F) unless ``batch_first``, nnlib's always (N, T, F)."""
    return nnlib.swapaxes(x, 0, 1)


def each(function: Callable[[Any], Any], state: Any) -> Any:
    """Apply a function to a state, or to the two parts of an LSTM's."""
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


def recurrent(cls: Any) -> Adapter:
    def make(*args: Any, batch_first: bool = False, proj_size: int = 0, **options: Any) -> Any:
        only(proj_size, 0, what="proj_size")
        module = cls(*args, **options)
        module.time_first = not batch_first
        return module

    def call(module: Any, input: Any, state: Any = None) -> Any:
        single = input.ndim == 2  # (T, F); states are (layers, N, F), or without N
        if single:
            input = nnlib.expand_dims(input, 0)
            state = None if state is None else each(lambda x: nnlib.expand_dims(x, 1), state)
        elif module.time_first:
            input = time_first(input)
        y, final = module(input, state)
        if single:
            return y[0], each(lambda x: nnlib.squeeze(x, 1), final)
        return time_first(y) if module.time_first else y, final

    return Adapter(make, call)


MODULES |= {"RNN": recurrent(nn.RNN), "GRU": recurrent(nn.GRU), "LSTM": recurrent(nn.LSTM)}


def attention(
    embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
    add_bias_kv: bool = False, add_zero_attn: bool = False, batch_first: bool = False,
) -> Any:  # fmt: skip
    only(add_bias_kv, False, what="add_bias_kv")
    only(add_zero_attn, False, what="add_zero_attn")
    module = nn.MultiheadAttention(embed_dim, num_heads, dropout, bias)
    module.time_first = not batch_first
    return module


def attend(
    module: Any, query: Any, key: Any, value: Any, key_padding_mask: Any = None,
    need_weights: bool = True, attn_mask: Any = None, **options: Any,
) -> Any:  # fmt: skip
    single = query.ndim == 2
    if single:
        query, key, value = (nnlib.expand_dims(x, 0) for x in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = nnlib.expand_dims(key_padding_mask, 0)
    elif module.time_first:
        query, key, value = map(time_first, (query, key, value))
    y, weights = module(
        query, key, value, key_padding_mask=key_padding_mask, need_weights=need_weights,
        attn_mask=attn_mask, **options,
    )  # fmt: skip
    if single:
        return y[0], None if weights is None else weights[0]
    return time_first(y) if module.time_first else y, weights


MODULES["MultiheadAttention"] = Adapter(attention, attend)
