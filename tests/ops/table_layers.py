"""Rows of what layers are made of: products, convolutions, pooling, normalisations, losses."""

import numpy as np
from ops.table import Row, case, floats, integers, positive, sample_cases
from ops.table_elementwise import gelu
from scipy import special

from nnlib import ops
from nnlib_backends.common.philox import philox4x32


def linear(x, weight, bias=None, activation=None):
    y = np.einsum("...i,oi->...o", x, weight) + (0 if bias is None else bias)
    return activated(y, activation)


def activated(y, activation):
    if activation == "relu":
        return np.maximum(y, 0)
    if activation == "gelu_tanh":
        return gelu(y, approximate="tanh")
    return {None: y, "tanh": np.tanh(y), "sigmoid": special.expit(y)}[activation]


def windows(x, size, stride=(1, 1), dilation=(1, 1)):
    """Every window of an image (N, H, W, C), one by one: (N, H', W', kh, kw, C)."""
    n, height, width, channels = x.shape
    rows = (height - (size[0] - 1) * dilation[0] - 1) // stride[0] + 1
    columns = (width - (size[1] - 1) * dilation[1] - 1) // stride[1] + 1
    out = np.zeros((n, rows, columns, *size, channels), x.dtype)
    for i, j, u, v in np.ndindex(rows, columns, *size):
        out[:, i, j, u, v] = x[:, i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]]
    return out


def fold(patches, shape, size, stride=(1, 1), dilation=(1, 1)):
    out = np.zeros(shape)
    rows, columns = patches.shape[1:3]
    for i, j, u, v in np.ndindex(rows, columns, *size):
        place = (slice(None), i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1])
        out[place] += patches[:, i, j, u, v]
    return out


def surround(x, padding, value=0.0):
    around = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
    return np.pad(x, around, constant_values=value)


def conv2d(
    x, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation=None
):
    patches = windows(surround(x, padding), weight.shape[1:3], stride, dilation)
    filters = weight.shape[0] // groups
    parts = [
        np.einsum(
            "nxyuvc,ouvc->nxyo",
            np.split(patches, groups, axis=-1)[i],
            weight[i * filters : (i + 1) * filters],
        )
        for i in range(groups)
    ]
    return activated(np.concatenate(parts, axis=-1) + (0 if bias is None else bias), activation)


def max_pool2d(x, size, stride, padding=(0, 0)):
    return windows(surround(x, padding, -np.inf), size, stride).max(axis=(3, 4))


def avg_pool2d(x, size, stride, padding=(0, 0)):
    return windows(surround(x, padding), size, stride).mean(axis=(3, 4))


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def rms_norm(x, weight=None, eps=1e-6):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * (1 if weight is None else weight)


def batch_norm(x, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - 1))
    y = (x - x.mean(axes)) / np.sqrt(x.var(axes) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def softmax_cross_entropy(logits, labels):
    return -np.log(special.softmax(logits, axis=-1)[np.arange(len(labels)), labels])


def sigmoid_cross_entropy(logits, targets):
    p = special.expit(logits)
    return -targets * np.log(p) - (1 - targets) * np.log(1 - p)


def dropout_factor(key, shape, p, dtype):
    seed, offset = (int(n) for n in key)
    words = philox4x32(np, seed, offset, np.prod(shape, dtype=int))
    factor = (words < int((1 - p) * 2**32)).astype(dtype)
    return (factor / (1 - p if p < 1 else 1)).reshape(shape).astype(dtype)


def dropout(x, key, p):
    return x * dropout_factor(key, x.shape, p, "float64")


PATCHES = [
    {"size": (2, 3)},
    {"size": (2, 2), "stride": (2, 1)},
    {"size": (2, 2), "stride": (1, 3), "dilation": (2, 1)},
]

WINDOWS = "what is smaller than a window, or has no channels"

CONVOLUTION = [
    Row(ops.linear, linear, [
        *sample_cases(ops.linear), case(floats(3), floats(2, 3), floats(2)),
        case(floats(0, 3), floats(2, 3), floats(2)), case(floats(2, 0), floats(4, 0), floats(4)),
    ]),
    Row(ops.extract_patches, windows, [
        case(floats(2, 4, 5, 2), **o) for o in PATCHES
    ], refuses=WINDOWS),
    Row(ops.fold_patches, fold, [
        case(floats(2, 3, 3, 2, 3, 2), shape=(2, 4, 5, 2), **PATCHES[0]),
        case(floats(2, 2, 4, 2, 2, 1), shape=(2, 4, 5, 1), **PATCHES[1]),
        case(floats(1, 2, 2, 2, 2, 1), shape=(1, 4, 5, 1), **PATCHES[2]),
    ]),
    Row(ops.conv2d, conv2d, [
        *sample_cases(ops.conv2d), case(floats(0, 4, 4, 2), floats(3, 2, 2, 2), floats(3)),
        case(floats(2, 4, 5, 4), floats(4, 2, 2, 1), None, groups=4, padding=(0, 1), stride=(3, 1)),
        case(floats(1, 5, 4, 2), floats(2, 3, 2, 1), floats(2), groups=2, dilation=(2, 1)),
        case(floats(1, 4, 4, 2), floats(2, 2, 2, 2), None, padding=(1, 0), stride=(1, 2)),
    ], refuses=WINDOWS),
    Row(ops.max_pool2d, max_pool2d, [
        *sample_cases(ops.max_pool2d), case(floats(0, 4, 4, 2), size=(2, 2), stride=(2, 2)),
    ], 1, refuses=WINDOWS),
    Row(ops.avg_pool2d, avg_pool2d, [
        *sample_cases(ops.avg_pool2d), case(floats(0, 4, 4, 2), size=(2, 2), stride=(2, 2)),
    ], refuses=WINDOWS),
]  # fmt: skip

NORMALIZATION = [
    Row(ops.layer_norm, layer_norm, [
        *sample_cases(ops.layer_norm), case(floats(3, 4)), case(floats(3, 4), None, floats(4)),
        case(floats(5), floats(5)), case(floats(0, 4), floats(4), floats(4)),
    ], refuses="a number without an axis"),
    Row(ops.rms_norm, rms_norm, [
        *sample_cases(ops.rms_norm), case(floats(3, 4)), case(floats(0, 4), floats(4)),
    ], refuses="a number without an axis"),
    Row(ops.batch_norm, batch_norm, [
        *sample_cases(ops.batch_norm), case(floats(4, 3)), case(floats(4, 3), None, floats(3)),
        case(floats(4, 3), floats(3)),
    ], refuses="a number without channels"),
]  # fmt: skip

LOSSES = [
    Row(ops.softmax_cross_entropy, softmax_cross_entropy, [
        *sample_cases(ops.softmax_cross_entropy), case(floats(0, 3), integers(3, 0)),
    ], refuses="logits that are not (N, C)"),
    Row(ops.sigmoid_cross_entropy, sigmoid_cross_entropy, [
        *sample_cases(ops.sigmoid_cross_entropy), case(floats(), positive()),
        case(floats(0, 2), positive(0, 2)),
    ]),
]  # fmt: skip

DROPOUT = [
    Row(ops.dropout, dropout, [
        *sample_cases(ops.dropout), case(floats(0, 3), integers(5, 2), p=0.5),
    ]),
    Row(ops.dropout_factor, dropout_factor, [
        case(integers(5, 2), shape=(3, 5), p=0.25, dtype="float32"),
    ], 0),
]  # fmt: skip

ROWS = [*CONVOLUTION, *NORMALIZATION, *LOSSES, *DROPOUT]
