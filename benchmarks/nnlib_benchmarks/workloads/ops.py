"""Single operations from cache-resident to large: matrix product, convolution, every activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import nnlib.nn.functional as F
from nnlib_benchmarks import flops

ACTIVATIONS = (
    "relu", "sigmoid", "tanh", "softplus", "leaky_relu", "elu", "selu", "gelu", "silu", "mish",
    "relu6", "hardtanh", "hardsigmoid", "hardswish", "softsign", "logsigmoid", "softmax",
    "log_softmax",
)  # fmt: skip

MATMUL = (32, 64, 128, 256, 512, 1024, 2048)
QUICK_MATMUL = (64, 256, 1024)
CONV_SIDES = (7, 14, 28, 56, 112)
QUICK_CONV_SIDES = (14, 56)
ELEMENTS = (2**10, 2**14, 2**17, 2**20, 2**23)  #: 4 KiB, 64 KiB, 512 KiB, 4 MiB, 32 MiB
QUICK_ELEMENTS = (2**10, 2**14, 2**18)

CONV_BATCH, CONV_CHANNELS = 4, 64
ROW = 512  #: length of the rows over which softmax sums


@dataclass(frozen=True)
class Case:
    """One operation at one size.

    Attributes
    ----------
    operation, size, unit, shape
        See `nnlib_benchmarks.records.Operation`.
    inputs : tuple of shapes
        Of its float32 inputs.
    output : tuple of int
        Shape of the result.
    call : callable
        Tensors → tensor.
    flops : int or None
        Of the forward pass.
    """

    operation: str
    size: int
    unit: str
    shape: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    call: Callable[..., Any]
    flops: int | None


def cases(quick: bool) -> Iterator[Case]:
    """All cases, smallest first within an operation."""
    for n in QUICK_MATMUL if quick else MATMUL:
        yield matmul_case(n)
    for side in QUICK_CONV_SIDES if quick else CONV_SIDES:
        yield conv_case(side)
    for name in ACTIVATIONS:
        for elements in QUICK_ELEMENTS if quick else ELEMENTS:
            yield activation_case(name, elements)


def matmul_case(n: int) -> Case:
    """A product of two n×n matrices."""
    return Case(
        "matmul", n, "n of (n×n)·(n×n)", f"({n}×{n})·({n}×{n})",
        ((n, n), (n, n)), (n, n), lambda a, b: a @ b, flops.linear(n, n, n),
    )  # fmt: skip


def conv_case(side: int) -> Case:
    """A 3×3 convolution like those in the middle of VGG."""
    n, c = CONV_BATCH, CONV_CHANNELS
    image = (n, side, side, c)
    return Case(
        "conv2d", side, f"image side ({n} images, 3×3, {c} → {c})", f"{n}×{side}×{side}×{c}",
        (image, (c, 3, 3, c)), image, lambda x, w: F.conv2d(x, w, padding=1),
        flops.conv(n, (side, side), (c, c), (3, 3)),
    )  # fmt: skip


def activation_case(name: str, elements: int) -> Case:
    """An activation over a matrix (softmax needs rows)."""
    shape = (elements // ROW, ROW)
    words = f"{shape[0]}×{shape[1]}"
    return Case(name, elements, "elements", words, (shape,), shape, getattr(F, name), None)
