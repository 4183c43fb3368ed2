"""Nominal number of floating-point operations of a step.

Only matrix products and convolutions count, two operations for each multiply-add, whatever
the algorithm; the rest of a step (activations, pooling, the optimizer) is limited by memory, not
arithmetic.
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


def causal_attention(batch: int, time: int, width: int) -> int:
    """Operations of scores and weighted sums, all heads together.

    Only pairs of a position with itself and with those before it count.

    Examples
    --------
    >>> causal_attention(1, 2, width=10)  # 3 pairs, 2 products
    120
    """
    pairs = time * (time + 1) // 2
    return 2 * 2 * batch * pairs * width


def training_step(layers: Sequence[int]) -> int:
    """Operations of forward and backward: each layer three times, the first twice.

    The backward pass is two matrix products, for the weights and for the layer's input; the
    gradient of the data, the first layer's input, is not needed.

    Examples
    --------
    >>> training_step([10, 100])
    320
    """
    return 3 * sum(layers) - layers[0]
