"""How many floating-point operations a step needs, by the book.

Only matrix products and convolutions count, two operations for each multiply-add, whatever
algorithm computes them; the rest of a step (activations, pooling, the optimizer) is limited by
memory, not arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def linear(batch: int, inputs: int, outputs: int) -> int:
    """Operations of a fully connected layer's forward pass.

    Examples
    --------
    >>> linear(1, 4096, 1000)
    8192000
    """
    return 2 * batch * inputs * outputs


def conv(
    batch: int, out_size: tuple[int, int], channels: tuple[int, int], kernel: tuple[int, int]
) -> int:
    """Operations of a convolution's forward pass.

    Parameters
    ----------
    batch : int
        Images.
    out_size : (int, int)
        Height and width of the result.
    channels : (int, int)
        In and out.
    kernel : (int, int)
        Height and width.
    """
    (h, w), (c_in, c_out), (kh, kw) = out_size, channels, kernel
    return 2 * batch * h * w * c_out * kh * kw * c_in


def training_step(layers: Sequence[int]) -> int:
    """Operations of forward and backward: each layer three times, the first twice.

    The backward pass is two products, for the weights and for the layer's input; nobody needs the
    gradient of the first layer's input, the data.

    Examples
    --------
    >>> training_step([10, 100])
    320
    """
    return 3 * sum(layers) - layers[0]


def mlp(batch: int, sizes: Sequence[int]) -> list[int]:
    """Forward operations of each layer of a multi-layer network.

    Examples
    --------
    >>> mlp(1, (784, 300, 10))
    [470400, 6000]
    """
    return [linear(batch, a, b) for a, b in pairwise(sizes)]


VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(batch: int, side: int = 224, classes: int = 1000) -> list[int]:
    """Forward operations of each layer of VGG-16 (Simonyan and Zisserman, 2014).

    Examples
    --------
    >>> f"{sum(vgg16(1)) / 2e9:.2f} billion multiply-adds an image"
    '15.47 billion multiply-adds an image'
    """
    layers, channels = [], 3
    for block in VGG16_WIDTHS:
        for width in block:
            layers.append(conv(batch, (side, side), (channels, width), (3, 3)))
            channels = width
        side //= 2
    return layers + mlp(batch, (side * side * channels, 4096, 4096, classes))
