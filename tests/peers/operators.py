"""PyTorch's operators by their names, each computed with nnlib.

A row is a function with PyTorch's parameters that gets nnlib's tensors.  What differs between the
two libraries is translated here and nowhere else: names of axes, the place of the channels (nnlib
has them last), ``correction`` and ``ddof``.  An option that nnlib does not have is either no
parameter of the row, or it raises `NotInNnlib`; such samples are counted, not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nnlib
from nnlib import nn
from nnlib.nn import functional as F

__all__ = ["OPERATORS", "NotInNnlib", "channels_first", "channels_last"]

OPERATORS: dict[tuple[str, str], Callable[..., Any]] = {}  #: (name, variant) → row


class NotInNnlib(Exception):  # noqa: N818 - no error: the sample is left out
    """A sample uses what nnlib does not have."""


def row(*names: str | tuple[str, str]) -> Callable[[Any], Any]:
    """Enter a function under PyTorch's names: a name, or a name and a variant (a decorator)."""

    def enter(function: Any) -> Any:
        for name in names:
            key = name if isinstance(name, tuple) else (name, "")
            assert key not in OPERATORS, key
            OPERATORS[key] = function
        return function

    return enter


def only(value: Any, *allowed: Any, what: str) -> None:
    """Leave the sample out unless an option has one of these values."""
    if not any(
        value is other or (type(value) is type(other) and value == other) for other in allowed
    ):
        raise NotInNnlib(f"{what}={value!r}")


def channels_last(x: Any) -> Any:
    return nnlib.moveaxis(x, 1, -1)


def channels_first(x: Any) -> Any:
    return nnlib.moveaxis(x, -1, 1)


def batched(x: Any, ndim: int) -> tuple[Any, bool]:
    """PyTorch takes one image without the batch's axis: add it, and say so."""
    return (x, False) if x.ndim == ndim else (nnlib.expand_dims(x, 0), True)


def on_images(function: Callable[..., Any], x: Any, ndim: int, *args: Any, **options: Any) -> Any:
    """Call a function of images, channels last, with an image or a batch of PyTorch's."""
    x, single = batched(x, ndim)
    y = channels_first(function(channels_last(x), *args, **options))
    return y[0] if single else y


# Elementwise -------------------------------------------------------------------------------------

for _name in (
    "abs", "cos", "cosh", "erf", "exp", "expm1", "isfinite", "isnan", "log", "log1p", "logical_not",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tanh",
):  # fmt: skip
    _ours = getattr(nnlib, _name)
    row(_name)(lambda input, _f=_ours: _f(input))

for _name in ("ceil", "floor", "trunc"):
    _ours = getattr(nnlib, _name)
    row(_name)(lambda input, _f=_ours: _f(input))

row("round")(lambda input: nnlib.round(input))
row("special.ndtr")(lambda input: nnlib.ndtr(input))
row("neg")(lambda input: nnlib.negative(input))
row("bitwise_not")(lambda input: nnlib.invert(input))
row("reciprocal")(lambda input: 1 / input)


@row("clone")
def _(input, memory_format=None):
    return nnlib.copy(input)


for _name in (
    "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish",
    "relu", "relu6", "selu", "silu", "softsign",
):  # fmt: skip
    _ours = getattr(F, _name)
    row(f"nn.functional.{_name}")(
        lambda input, *args, inplace=False, _f=_ours, **options: _f(input, *args, **options)
    )

row("nn.functional.prelu")(
    lambda input, weight: (
        F.prelu(input, weight)
        if weight.size == 1 or input.ndim < 2
        else channels_first(F.prelu(channels_last(input), weight))
    )
)


@row("nn.functional.softplus")
def _(input, beta=1.0, threshold=20.0):
    only(threshold, 20, 20.0, what="threshold")
    return F.softplus(input, beta)


# Two arguments -----------------------------------------------------------------------------------


@row("add")
def _(input, other, alpha=1):
    return nnlib.add(input, other if alpha == 1 else other * alpha)


@row("sub")
def _(input, other, alpha=1):
    return nnlib.subtract(input, other if alpha == 1 else other * alpha)


@row("rsub")
def _(input, other, alpha=1):
    return other - (input if alpha == 1 else input * alpha)


for _name, _ours in {
    "mul": nnlib.multiply, "true_divide": nnlib.divide, "pow": nnlib.power,
    "maximum": nnlib.maximum, "minimum": nnlib.minimum, "logaddexp": nnlib.logaddexp,
    "logical_and": nnlib.logical_and,
    "logical_or": nnlib.logical_or, "bitwise_and": nnlib.bitwise_and,
    "bitwise_or": nnlib.bitwise_or, "eq": nnlib.equal, "ne": nnlib.not_equal, "lt": nnlib.less,
    "le": nnlib.less_equal, "gt": nnlib.greater, "ge": nnlib.greater_equal,
    "matmul": nnlib.matmul, "outer": nnlib.outer, "dot": nnlib.dot,
}.items():  # fmt: skip
    row(_name)(lambda input, other, _f=_ours: _f(input, other))

for _name in ("mm", "bmm", "mv"):
    row(_name)(lambda input, other: input @ other)

for _name in ("remainder", "fmod", "floor_divide"):
    _ours = getattr(nnlib, _name)
    row(_name)(lambda input, other, _f=_ours: _f(input, other))

row(("div", "floor_rounding"))(lambda input, other, rounding_mode: nnlib.floor_divide(input, other))
row("__rmod__")(lambda input, other: other % input)
row("__radd__")(lambda input, other: other + input)
row("__rmul__")(lambda input, other: other * input)
row("__rsub__")(lambda input, other: other - input)
row("__rdiv__")(lambda input, other: other / input)
row("__rpow__")(lambda input, other: other**input)
row("__rand__")(lambda input, other: other & input)
row("__ror__")(lambda input, other: other | input)
row("__rmatmul__")(lambda input, other: other @ input)
row(("div", "no_rounding_mode"))(lambda input, other: nnlib.divide(input, other))
row(("max", "binary"))(lambda input, other: nnlib.maximum(input, other))
row(("min", "binary"))(lambda input, other: nnlib.minimum(input, other))
row("where")(lambda input, condition, other: nnlib.where(condition, input, other))
row("masked_fill")(lambda input, mask, value: nnlib.where(mask, value, input))


@row("clamp")
def _(input, min=None, max=None):
    return nnlib.clip(input, min, max)


row("clamp_min")(lambda input, min: nnlib.clip(input, min, None))
row("clamp_max")(lambda input, max: nnlib.clip(input, None, max))

# Reductions --------------------------------------------------------------------------------------


def axes(dim: Any, ndim: int) -> Any:
    """PyTorch's ``dim``: an empty list of axes means all of them, and a number has one axis."""
    if isinstance(dim, list | tuple):
        dim = tuple(dim) or None
    if ndim == 0:
        return None
    return dim


def converted(x: Any, dtype: Any) -> Any:
    return x if dtype is None else x.astype(dtype)


def sums(function: Callable[..., Any]) -> Callable[..., Any]:
    def adapted(input, dim=None, keepdim=False, dtype=None):
        return function(converted(input, dtype), axis=axes(dim, input.ndim), keepdims=keepdim)

    return adapted


for _name in ("sum", "mean", "prod"):
    row(_name)(sums(getattr(nnlib, _name)))


def extremes(function: Callable[..., Any]) -> Callable[..., Any]:
    def adapted(input, dim=None, keepdim=False):
        return function(input, axis=axes(dim, input.ndim), keepdims=keepdim)

    return adapted


for _name, _ours in {
    "amax": nnlib.max, "amin": nnlib.min, "all": nnlib.all, "any": nnlib.any,
    "logsumexp": nnlib.logsumexp, "argmax": nnlib.argmax, "argmin": nnlib.argmin,
}.items():  # fmt: skip
    row(_name)(extremes(_ours))
row(("max", "reduction_no_dim"))(extremes(nnlib.max))
row(("min", "reduction_no_dim"))(extremes(nnlib.min))


@row("cumsum")
def _(input, dim, dtype=None):
    input = converted(input, dtype)
    return (
        nnlib.cumsum(nnlib.reshape(input, 1), 0)[0] if input.ndim == 0 else nnlib.cumsum(input, dim)
    )


def spreads(function: Callable[..., Any]) -> Callable[..., Any]:
    def adapted(input, dim=None, unbiased=True, keepdim=False, *, correction=None):
        if isinstance(dim, bool):  # var(input, unbiased)
            dim, unbiased = None, dim
        ddof = int(unbiased) if correction is None else correction
        return function(input, axis=axes(dim, input.ndim), keepdims=keepdim, ddof=ddof)

    return adapted


for _name in ("std", "var"):
    row(_name, (_name, "unbiased"))(spreads(getattr(nnlib, _name)))


def softmaxes(function: Callable[..., Any]) -> Callable[..., Any]:
    def adapted(input, dim, dtype=None):
        input = converted(input, dtype)
        if input.ndim == 0:
            return function(nnlib.reshape(input, 1), 0)[0]
        return function(input, dim)

    return adapted


row("softmax", ("softmax", "with_dtype"))(softmaxes(F.softmax))
row("log_softmax", ("log_softmax", "with_dtype"))(softmaxes(F.log_softmax))

# Shapes ------------------------------------------------------------------------------------------


@row("reshape", "view")
def _(input, *shape):
    return nnlib.reshape(input, shape[0] if isinstance(shape[0], list | tuple) else shape)


row("reshape_as", "view_as")(lambda input, other: nnlib.reshape(input, other.shape))
row("ravel")(lambda input: nnlib.reshape(input, -1))
row("permute")(lambda input, dims: nnlib.transpose(input, dims))
row("movedim")(lambda input, source, destination: nnlib.moveaxis(input, source, destination))
row("t")(lambda input: nnlib.transpose(input))
row("T")(lambda input: input.T)
row("unsqueeze")(lambda input, dim: nnlib.expand_dims(input, dim))
row("fliplr")(lambda input: nnlib.flip(input, 1))
row("flipud")(lambda input: nnlib.flip(input, 0))
row("broadcast_to")(lambda input, size: nnlib.broadcast_to(input, size))
row("expand_as")(lambda input, other: nnlib.broadcast_to(input, other.shape))
row("flip")(lambda input, dims: nnlib.flip(input, tuple(dims)) if dims else nnlib.copy(input))


@row("transpose")
def _(input, dim0, dim1):
    return input if input.ndim == 0 else nnlib.swapaxes(input, dim0, dim1)


@row("squeeze", ("squeeze", "multiple"))
def _(input, dim=None):
    """Squeeze; PyTorch leaves axes that are longer than one alone, NumPy refuses them."""
    if dim is None:
        return nnlib.squeeze(input)
    dims = [dim] if isinstance(dim, int) else dim
    if input.ndim == 0:
        return input
    return nnlib.squeeze(input, tuple(d for d in dims if input.shape[d] == 1))


@row("expand")
def _(input, *shape):
    shape = shape[0] if isinstance(shape[0], list | tuple) else shape
    lead = len(shape) - input.ndim
    return nnlib.broadcast_to(
        input, tuple(input.shape[i - lead] if n == -1 else n for i, n in enumerate(shape))
    )


@row("flatten")
def _(input, start_dim=0, end_dim=-1):
    return nn.Flatten(start_dim, end_dim)(input) if input.ndim else nnlib.reshape(input, -1)


@row("roll")
def _(input, shifts, dims=None):
    if dims is None or dims == ():
        shift = shifts if isinstance(shifts, int) else sum(shifts)
        return nnlib.reshape(nnlib.roll(nnlib.reshape(input, -1), shift, 0), input.shape)
    return nnlib.roll(input, shifts, dims)


@row("cat")
def _(tensors, dim=0):
    if any(x.ndim == 1 and x.size == 0 for x in tensors):
        raise NotInNnlib("an empty vector among other shapes, which PyTorch still allows")
    return nnlib.concatenate(list(tensors), dim)


@row("stack")
def _(tensors, dim=0):
    return nnlib.stack(list(tensors), dim)


@row("__getitem__")
def _(input, key):
    return input[key]


@row("select")
def _(input, dim, index):
    return nnlib.moveaxis(input, dim, 0)[index]


@row("gather")
def _(input, dim, index, sparse_grad=False):
    if input.ndim != index.ndim or input.ndim == 0:
        raise NotInNnlib("another number of axes, which PyTorch allows where nothing is taken")
    whole = slice(None)  # nothing is taken from what lies beyond the indices on the other axes
    input = input[
        tuple(whole if d == dim % input.ndim else slice(n) for d, n in enumerate(index.shape))
    ]
    return nnlib.take_along_axis(input, index, dim)


@row("take_along_dim")
def _(input, indices, dim=None):
    if dim is None:
        return nnlib.take_along_axis(nnlib.reshape(input, -1), nnlib.reshape(indices, -1), 0)
    return nnlib.take_along_axis(input, indices, dim)


def widths(pad: Any, ndim: int) -> list[tuple[int, int]]:
    """PyTorch's list of paddings begins at the last axis."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    if any(n < 0 for pair in pairs for n in pair):
        raise NotInNnlib("negative padding")
    return [(0, 0)] * (ndim - len(pairs)) + pairs[::-1]


@row(("nn.functional.pad", "constant"))
def _(input, pad, mode="constant", value=None):
    return nnlib.pad(input, widths(pad, input.ndim), value=0 if value is None else value)


@row("constant_pad_nd")
def _(input, pad, value=0):
    return nnlib.pad(input, widths(pad, input.ndim), value=value)


# Making and converting ---------------------------------------------------------------------------

for _name, _dtype in {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64",
    "short": "int16", "bool": "bool", "byte": "uint8", "char": "int8",
}.items():  # fmt: skip
    row(_name)(lambda input, memory_format=None, _d=_dtype: input.astype(_d))


@row("zeros_like")
def _(input, dtype=None, device=None, layout=None, requires_grad=False):
    return nnlib.zeros_like(input, dtype)


@row("ones_like")
def _(input, dtype=None, device=None, layout=None, requires_grad=False):
    return nnlib.ones_like(input, dtype)


@row("zeros")
def _(size, dtype="float32", device=None, layout=None, requires_grad=False):
    return nnlib.zeros(*size, dtype=dtype)


@row("ones")
def _(size, dtype="float32", device=None, layout=None, requires_grad=False):
    return nnlib.ones(*size, dtype=dtype)


@row("full")
def _(size, fill_value, dtype="float32", device=None, layout=None, requires_grad=False):
    return nnlib.full(tuple(size), fill_value, dtype=dtype)


@row("arange")
def _(*limits, dtype=None, device=None, layout=None, requires_grad=False):
    return nnlib.arange(*limits, dtype=dtype)


@row("linspace")
def _(start, end, steps, dtype="float32", device=None, layout=None, requires_grad=False):
    return nnlib.linspace(start, end, steps, dtype=dtype)


@row("eye")
def _(n, m=None, dtype="float32", device=None, layout=None, requires_grad=False):
    if m is not None and m != n:
        raise NotInNnlib("not square")
    return nnlib.eye(n, dtype=dtype)


@row("nn.functional.one_hot")
def _(input, num_classes=-1):
    if num_classes == -1:
        raise NotInNnlib("num_classes=-1")
    return F.one_hot(input, num_classes)


# Layers ------------------------------------------------------------------------------------------


@row("nn.functional.linear")
def _(input, weight, bias=None):
    if weight.ndim == 1:
        raise NotInNnlib("a weight of one axis")
    return F.linear(input, weight, bias)


@row("nn.functional.conv2d")
def _(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return on_images(
        F.conv2d, input, 4, channels_last(weight), bias, single(stride), single(padding),
        single(dilation), groups,
    )  # fmt: skip


@row("nn.functional.conv1d")
def _(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    stride, padding, dilation = (
        v[0] if isinstance(v, tuple | list) else v for v in (stride, padding, dilation)
    )
    return on_images(
        F.conv1d, input, 3, channels_last(weight), bias, stride, padding, dilation, groups
    )


def single(value: Any) -> Any:
    """``(3,)`` means 3 on both axes."""
    return value[0] if isinstance(value, tuple | list) and len(value) == 1 else value


@row("nn.functional.max_pool2d")
def _(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    only(ceil_mode, False, what="ceil_mode")
    only(return_indices, False, what="return_indices")
    if dilation not in (1, (1, 1)):
        raise NotInNnlib("dilation")
    return on_images(F.max_pool2d, input, 4, single(kernel_size), stride or None, padding)


@row("nn.functional.avg_pool2d")
def _(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    only(ceil_mode, False, what="ceil_mode")
    only(divisor_override, None, what="divisor_override")
    if not count_include_pad and padding not in (0, (0, 0)):
        raise NotInNnlib("count_include_pad=False")
    return on_images(F.avg_pool2d, input, 4, single(kernel_size), stride or None, single(padding))


@row("nn.functional.adaptive_avg_pool2d")
def _(input, output_size):
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * 2
    kept = input.shape[-2:]
    sizes = tuple(n if m is None else m for n, m in zip(kept, sizes, strict=True))
    return on_images(F.adaptive_avg_pool2d, input, 4, sizes)


@row("nn.functional.batch_norm", ("nn.functional.batch_norm", "without_cudnn"))
def _(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1,
    eps=1e-5,
):  # fmt: skip
    if input.ndim < 2:
        raise NotInNnlib("a vector without numbers")

    def norm(x):
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)

    return norm(input) if input.ndim == 2 else channels_first(norm(channels_last(input)))


@row("nn.functional.group_norm")
def _(input, num_groups, weight=None, bias=None, eps=1e-5):
    return channels_first(F.group_norm(channels_last(input), num_groups, weight, bias, eps))


@row("nn.functional.layer_norm")
def _(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    return F.layer_norm(input, tuple(normalized_shape), weight, bias, eps)


@row("nn.functional.rms_norm")
def _(input, normalized_shape, weight=None, eps=None):
    if eps is None:  # PyTorch's default, the spacing of the dtype's numbers at 1
        eps = {"float32": 2.0**-23, "float64": 2.0**-52}[str(input.dtype)]
    return F.rms_norm(input, tuple(normalized_shape), weight, eps)


@row("nn.functional.embedding")
def _(
    weight, indices, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
    sparse=False,
):  # fmt: skip
    only(max_norm, None, what="max_norm")
    only(scale_grad_by_freq, False, what="scale_grad_by_freq")
    return F.embedding(indices, weight, padding_idx)


@row("nn.functional.dropout")
def _(input, p=0.5, training=True, inplace=False):
    if training and 0 < p < 1:
        raise NotInNnlib("random numbers, which are each library's own")
    return F.dropout(input, p, training)


@row("nn.functional.scaled_dot_product_attention")
def _(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    only(enable_gqa, False, what="enable_gqa")
    only(dropout_p, 0.0, what="dropout_p")
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale
    )


# Losses ------------------------------------------------------------------------------------------


def reduced(reduction: str, size_average: Any, reduce: Any) -> str:
    """PyTorch's old pair of options, which its tables still use."""
    if size_average is None and reduce is None:
        return reduction
    size_average, reduce = size_average is not False, reduce is not False
    return "none" if not reduce else "mean" if size_average else "sum"


for _name, _options in {
    "mse_loss": (), "l1_loss": (), "smooth_l1_loss": ("beta",), "huber_loss": ("delta",),
}.items():  # fmt: skip
    _ours = getattr(F, _name)

    def _loss(
        input, target, size_average=None, reduce=None, reduction="mean", *, _f=_ours,
        _allowed=_options, **options,
    ):  # fmt: skip
        if options.pop("weight", None) is not None or set(options) - set(_allowed):
            raise NotInNnlib(f"{sorted(options)}")
        return _f(input, target, reduction=reduced(reduction, size_average, reduce), **options)

    row(f"nn.functional.{_name}")(_loss)


@row("nn.functional.kl_div")
def _(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    reduction = reduced(reduction, size_average, reduce)
    return F.kl_div(input, target, reduction, log_target=log_target)


@row("nn.functional.binary_cross_entropy")
def _(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    reduction = reduced(reduction, size_average, reduce)
    return F.binary_cross_entropy(input, target, weight, reduction=reduction)


@row("nn.functional.binary_cross_entropy_with_logits")
def _(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    reduction = reduced(reduction, size_average, reduce)
    return F.binary_cross_entropy_with_logits(
        input, target, weight, reduction=reduction, pos_weight=pos_weight
    )


def classes_last(x: Any) -> Any:
    return x if x.ndim < 2 else channels_last(x)


@row("nn.functional.cross_entropy")
def _(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
    reduction="mean", label_smoothing=0.0,
):  # fmt: skip
    return F.cross_entropy(
        classes_last(input), classes_last(target) if target.dtype.kind == "f" else target, weight,
        ignore_index=ignore_index, reduction=reduced(reduction, size_average, reduce),
        label_smoothing=label_smoothing,
    )  # fmt: skip


@row("nn.functional.nll_loss")
def _(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"
):
    return F.nll_loss(
        classes_last(input), target, weight, ignore_index=ignore_index,
        reduction=reduced(reduction, size_average, reduce),
    )  # fmt: skip
