"""How many floating-point operations a step needs, by the book.

Only matrix products and convolutions count, two operations for each multiply-add, whatever
algorithm computes them; the rest of a step (activations, pooling, the optimizer) is limited by
memory, not arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence


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
