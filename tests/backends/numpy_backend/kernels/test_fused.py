"""A layer with an activation computes the bits of the layer and the activation one by one.

So nothing changes where a hook or a debugger keeps the two apart.
"""

import numpy as np
import pytest

from nnlib_backends.numpy_backend.codegen.activation import activate_all
from nnlib_backends.numpy_backend.kernels.activation import CODES
from nnlib_backends.numpy_backend.kernels.cpu_kernels import KERNELS, PRIMITIVES

ACTIVATIONS = [name for name in CODES if name]


def activated(y, activation):
    if activation == "gelu_tanh":
        return KERNELS["gelu"].forward(y, approximate="tanh")[0]
    return PRIMITIVES[activation].forward(y)


def assert_same_bits(a, b):
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_of_vectors_and_of_numbers(activation):
    ends = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45]
    ranges = np.linspace(-110, 110, 300_007), np.linspace(-12, 12, 300_007)
    x = np.concatenate([*ranges, ends]).astype(np.float32)
    y = x.copy()
    activate_all(y, activation)
    assert_same_bits(y, activated(x, activation))
    single = np.concatenate([activated(x[i : i + 1], activation) for i in range(0, x.size, 1009)])
    assert_same_bits(single, y[::1009])  # as at a loop's end, where there are no vectors


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "gelu_tanh"])
@pytest.mark.parametrize(("m", "k", "n"), [(3, 5, 7), (2, 600, 300), (33, 40, 50), (200, 30, 20)])
def test_linear(m, k, n, activation, threads):
    args = numbers(m, k), numbers(n, k), numbers(n)
    fused, _ = KERNELS["linear"].forward(*args, activation=activation)
    assert_same_bits(fused, activated(KERNELS["linear"].forward(*args)[0], activation))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("image", "filters", "size", "stride", "groups"),
    [
        ((2, 9, 11, 3), 5, 3, 1, 1),  # from the image
        ((2, 13, 13, 8), 12, 3, 2, 2),
        ((2, 8, 8, 32), 48, 1, 1, 1),  # a plain product
        ((16, 2, 2, 64), 160, 3, 2, 1),  # across images
        ((3, 24, 24, 32), 64, 3, 1, 1),  # by Winograd's way, by tiles
        ((2, 10, 10, 256), 300, 3, 1, 1),  # and by panels
    ],
)
def test_convolution(image, filters, size, stride, groups, activation):
    args = numbers(*image), numbers(filters, size, size, image[3] // groups), numbers(filters)
    options = {"stride": (stride,) * 2, "padding": (size // 2,) * 2, "dilation": (1, 1)}
    convolve = KERNELS["conv2d"].forward
    fused, _ = convolve(*args, **options, groups=groups, activation=activation)
    assert_same_bits(fused, activated(convolve(*args, **options, groups=groups)[0], activation))
