"""The cuDNN problems of the course's networks."""

from nnlib.models.vgg import CONVOLUTIONS, WIDTH
from nnlib_backends.cupy_backend.cudnn.attention_graph import Attention, Layout
from nnlib_backends.cupy_backend.cudnn.convolution_graph import Convolution

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "tf32": "float32", "fp32": "float32"}
DIRECTIONS = ("forward", "image", "filters")


def padded(channels, precision):
    """Return the number of channels after padding."""
    if precision == "fp32":
        return channels
    pack = 4 if precision == "tf32" else 8
    return channels + -channels % pack


def convolution(direction, image, filters, padding, precision, activation="relu"):
    n, h, w, c = image
    o, kh, kw = filters
    c = c if direction == "image" else padded(c, precision)
    result = (n, h + 2 * padding - kh + 1, w + 2 * padding - kw + 1, o)
    forward = direction == "forward"
    return Convolution(
        direction, (n, h, w, c), (o, kh, kw, c), result, DTYPES[precision], forward,
        forward and activation == "relu", (1, 1), (padding, padding), (1, 1), precision == "tf32",
    )  # fmt: skip


def vgg_layers():
    """Size and channels of the image, and number of filters, of VGG-16's distinct layers."""
    size, channels, layers = 224, 3, []
    for width, count in zip(WIDTH, CONVOLUTIONS[16], strict=True):
        for _ in range(count):
            layers.append((size, channels, width))
            channels = width
        size //= 2
    return list(dict.fromkeys(layers))


def vgg():
    return {
        f"{direction} {size} {c} {o} batch {n} {precision}": convolution(
            direction, (n, size, size, c), (o, 3, 3), 1, precision
        )
        for size, c, o in vgg_layers()
        for direction in DIRECTIONS
        for n in (64, 256)
        for precision in ("bf16", "tf32")
    }


def lenet():
    layers = (((32, 28, 28, 1), (6, 5, 5), 2), ((32, 14, 14, 6), (16, 5, 5), 0))
    return {
        f"{direction} {image[3]} {precision}": convolution(
            direction, image, filters, padding, precision, "tanh"
        )
        for image, filters, padding in layers
        for direction in DIRECTIONS
        for precision in DTYPES
    }


def shapes():
    """Groups, strides, dilations."""
    cases = {
        "groups": ((2, 9, 11, 6), (8, 3, 3, 3), (2, 7, 9, 8), (1, 1), (1, 1)),
        "stride": ((2, 9, 11, 8), (8, 3, 3, 8), (2, 4, 5, 8), (2, 2), (1, 1)),
        "dilation": ((2, 9, 11, 8), (8, 3, 3, 8), (2, 5, 7, 8), (1, 1), (2, 2)),
    }
    return {
        f"{name} {direction} {dtype}": Convolution(
            direction, image, filters, result, dtype, direction == "forward", False, stride,
            (0, 0), dilation, False,
        )
        for name, (image, filters, result, stride, dilation) in cases.items()
        for direction in DIRECTIONS
        for dtype in ("float32", "float16", "bfloat16")
    }  # fmt: skip


def gpt2(batch=16, time=1024, heads=12, features=64):
    shape = (batch, time, heads, features)
    layout = Layout(shape, (time * 3 * heads * features, 3 * heads * features, features, 1))
    found = {}
    for name, dtype, bias, factor in (
        ("plain", "bfloat16", None, None),
        ("fp16", "float16", None, None),
        ("mask", "bfloat16", (batch, 1, time, time), None),
        ("mask and dropout", "bfloat16", (1, heads, time, time), "float32"),
        ("dropout of 16 bits", "bfloat16", None, "bfloat16"),
    ):
        for direction, deterministic in (("forward", 0), ("backward", 1), ("backward", 0)):
            gradients = () if direction == "forward" else (layout,) * 3
            same = ", the same each time" if deterministic else ""
            found[f"{name} {direction}{same}"] = Attention(
                direction, layout, layout, layout, gradients, dtype, 0.125, "top left", bias,
                factor, bool(deterministic),
            )  # fmt: skip
    return found


def other_attention():
    """More keys than queries, odd lengths, a bias without causality, and unsupported problems."""

    def layout(*shape):
        _, t, h, d = shape
        return Layout(shape, (t * h * d, h * d, d, 1))

    def problem(direction, time, keys, features, causal, bias=None):
        q, k = layout(2, time, 3, features), layout(2, keys, 3, features)
        gradients = () if direction == "forward" else (q, k, k)
        return Attention(
            direction, q, k, k, gradients, "bfloat16", 0.3, causal, bias, None, bool(gradients)
        )

    cases = {
        "more keys": (5, 77, 64, "bottom right"),
        "more queries": (77, 5, 64, ""),
        "odd": (33, 33, 16, "top left"),
        "all keys, bias": (33, 33, 128, "", (2, 1, 33, 33)),
        "features": (33, 33, 12, ""),
    }
    return {
        f"{name} {direction}": problem(direction, *case)
        for name, case in cases.items()
        for direction in ("forward", "backward")
    }


def problems():
    families = (vgg, lenet, shapes, gpt2, other_attention)
    return {
        f"{family.__name__} {label}": problem
        for family in families
        for label, problem in family().items()
    }
