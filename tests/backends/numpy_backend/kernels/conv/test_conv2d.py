"""``conv2d`` on the CPU against its definition in float64, every pass and option."""

import functools
import itertools

import numpy as np
import pytest
from ops.table import tensors

import nnlib
from nnlib.ops import conv2d
from nnlib_backends import load_backend
from nnlib_backends.base import GradOut, anywhere
from nnlib_backends.numpy_backend.codegen.simd import LANES
from nnlib_backends.numpy_backend.kernel_choice import general_kernels
from nnlib_backends.numpy_backend.kernels.conv import conv2d as module
from nnlib_backends.numpy_backend.kernels.conv import winograd, winograd_weight_grad

KERNEL = module.KERNELS["conv2d"]

#: shapes of image and filters, and options that are not the default
CASES = [
    ((2, 17, 23, 24), (40, 3, 3, 24), {"padding": (1, 1)}),  # Winograd's way from here …
    ((1, 9, 8, 24), (32, 3, 3, 24), {}),
    ((3, 8, 8, 60), (64, 3, 3, 60), {"padding": (2, 0)}),
    ((2, 6, 5, 40), (17, 3, 3, 40), {"padding": (5, 3)}),  # … to here
    ((9, 2, 2, 20), (100, 3, 3, 20), {"padding": (1, 1)}),
    ((8, 5, 7, 7), (198, 3, 3, 7), {"padding": (1, 1), "stride": (2, 2)}),
    ((8, 3, 4, 100), (194, 3, 2, 50), {"padding": (2, 1), "groups": 2, "dilation": (2, 1)}),
    ((1, 16, 16, 3), (64, 3, 3, 3), {"padding": (1, 1)}),
    ((2, 17, 23, 6), (16, 5, 5, 6), {"padding": (2, 2)}),
    ((3, 14, 12, 1), (6, 5, 5, 1), {"padding": (2, 2)}),
    ((2, 14, 14, 6), (16, 5, 5, 6), {}),
    ((9, 5, 5, 16), (120, 5, 5, 16), {}),
    ((2, 12, 12, 64), (48, 1, 1, 64), {}),
    ((1, 13, 12, 32), (48, 1, 1, 32), {"stride": (2, 2)}),
    ((1, 7, 7, 5), (3, 1, 1, 5), {"padding": (1, 2)}),
    ((2, 10, 13, 5), (7, 3, 2, 5), {"stride": (2, 3), "padding": (2, 1), "dilation": (2, 1)}),
    ((3, 9, 11, 3), (7, 3, 4, 3), {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)}),
    ((1, 11, 11, 2), (4, 3, 3, 2), {"stride": (2, 2), "padding": (1, 1), "dilation": (2, 2)}),
    ((1, 7, 9, 3), (5, 2, 2, 3), {"stride": (3, 3)}),
    ((2, 6, 6, 8), (8, 3, 3, 8), {"padding": (5, 5)}),
    ((2, 9, 11, 8), (12, 3, 3, 4), {"stride": (2, 2), "padding": (1, 1), "groups": 2}),
    ((2, 8, 8, 33), (33, 3, 3, 1), {"padding": (1, 1), "groups": 33}),
    ((1, 9, 9, 4), (6, 3, 3, 2), {"dilation": (2, 2), "groups": 2}),
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
]


def floats(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


@functools.cache
def example(number, activation):
    """Arguments, options, g, and by the definition in float64: result and gradients."""
    shape, filters, options = CASES[number]
    weight = floats(*filters) / np.float32(np.sqrt(np.prod(filters[1:])))
    arguments = [floats(*shape), weight, floats(filters[0])]
    options = {**conv2d.options, **options, "activation": activation}
    x, weight, bias = tensors(arguments, load_backend("numpy"), dtype="float64")
    z = conv2d.compute((x, weight, bias), {**options, "activation": None}).numpy()
    # relu has no derivative at 0, and float32 may be on its other side
    g = np.where(np.abs(z) < 1e-4, 0, floats(*z.shape, seed=1)).astype(np.float32)
    y = conv2d.compute((x, weight, bias), options)
    (y * nnlib.tensor(g.astype(np.float64))).sum().backward()
    return arguments, options, g, (y.numpy(), *(a.grad.numpy() for a in (x, weight, bias)))


def agree(ours, expected, allowed=2e-5):
    assert ours.shape == expected.shape
    scale = np.abs(expected).max(initial=1e-6)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=allowed * scale)


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: str(CASES[i][:2]))
def test_all_passes(number, activation, threads, poisoned):
    arguments, options, g, expected = example(number, activation)
    y, saved = KERNEL.forward(*arguments, **options)
    targets = [np.full(x.shape, np.nan, np.float32) for x in arguments]
    gradients = KERNEL.backward(g, saved, [*map(GradOut, targets)], *arguments, **options)
    assert all(a is b for a, b in zip(gradients, targets, strict=True))
    for ours, right in zip((y, *gradients), expected, strict=True):
        agree(ours, right)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_which_cases_go_which_way(number):
    (_, weight, _), options, g, _ = example(number, None)
    found = module.prefers_winograd(
        g.shape, weight.shape, options["stride"], options["dilation"], options["groups"]
    )
    if LANES == 16:  # panels are narrower elsewhere
        assert found == (number < 4)


@pytest.mark.parametrize("number", [0, 4, 8, 10, 14])
def test_only_what_is_needed(number):
    arguments, options, g, (_, *expected) = example(number, "relu")
    saved = KERNEL.forward(*arguments, **options)[1]
    for needed in itertools.product([False, True], repeat=3):
        found = KERNEL.backward(g, saved, anywhere(needed), *arguments, **options)
        for wanted, ours, right in zip(needed, found, expected, strict=True):
            assert (ours is not None) == wanted
            if wanted:
                agree(ours, right)


@pytest.mark.parametrize("number", [0, 4, 9, 12])
def test_layouts_and_no_bias(number):
    (x, weight, bias), options, g, (y, *gradients) = example(number, None)
    x = np.asfortranarray(x)
    weight = np.repeat(weight, 2, axis=2)[:, :, ::2]
    ours, saved = KERNEL.forward(x, weight, None, **options)
    agree(ours + bias, y)
    found = KERNEL.backward(
        np.asfortranarray(g), saved, anywhere((True, True, False)), x, weight, None, **options
    )
    agree(found[0], gradients[0])
    agree(found[1], gradients[1])
    ones = np.broadcast_to(np.float32(1), y.shape)
    db = KERNEL.backward(ones, saved, anywhere((False, False, True)), x, weight, bias, **options)[2]
    np.testing.assert_allclose(db, y.size / y.shape[3])


@pytest.mark.parametrize("shape", [(0, 9, 9, 16), (0, 5, 5, 3)])
def test_no_images(shape):
    x, weight, options = floats(*shape), floats(16, 3, 3, shape[3]), dict(conv2d.options)
    y, saved = KERNEL.forward(x, weight, floats(16), **options)
    assert y.size == 0
    targets = [np.full(s, np.nan, np.float32) for s in (x.shape, weight.shape, (16,))]
    for gradient in KERNEL.backward(y, saved, [*map(GradOut, targets)], x, weight, None, **options):
        assert not gradient.any()


VGG = [(1, 28, 28, 64, 64), (2, 14, 14, 256, 128), (1, 56, 56, 64, 96), (4, 8, 8, 128, 256)]


@pytest.mark.parametrize("order", ["by tiles", "by panels"])
@pytest.mark.parametrize("layer", VGG, ids=str)
def test_error_of_winograd(layer, order, monkeypatch):
    """At most 2e-4 of the output's scale, forward and gradients (measured: 1e-5)."""
    monkeypatch.setattr(winograd, "by_tiles", lambda *_: order == "by tiles")
    monkeypatch.setattr(winograd_weight_grad, "PRIVATE", 1 << 60 if order == "by tiles" else 0)
    n, height, width, channels, filters = layer
    x, bias = np.maximum(floats(n, height, width, channels), 0), floats(filters)
    weight = floats(filters, 3, 3, channels) * np.float32(np.sqrt(2 / 9 / channels))
    options = {**conv2d.options, "padding": (1, 1)}
    g = floats(n, height, width, filters, seed=1)
    assert module.prefers_winograd(g.shape, weight.shape, (1, 1), (1, 1), 1)
    exact = general_kernels()["conv2d"]
    doubles = [a.astype(np.float64) for a in (x, weight, bias)]
    expected = exact.forward(*doubles, **options)[0]
    agree(KERNEL.forward(x, weight, bias, **options)[0], expected, 2e-4)
    needed = (True, True, True)
    gradients = exact.backward(g.astype(np.float64), None, anywhere(needed), *doubles, **options)
    found = KERNEL.backward(g, None, anywhere(needed), x, weight, bias, **options)
    for ours, right in zip(found, gradients, strict=True):
        agree(ours, right, 2e-4)


def test_winograd_can_be_switched_off(monkeypatch):
    arguments, options, _, expected = example(0, None)
    monkeypatch.setattr(winograd, "convolve", None)
    with pytest.raises(TypeError):
        KERNEL.forward(*arguments, **options)
    monkeypatch.setenv("NNLIB_WINOGRAD", "0")
    agree(KERNEL.forward(*arguments, **options)[0], expected[0], 2e-6)


def test_nan_is_not_lost():
    for number in (0, 8):
        (x, weight, bias), options, _, _ = example(number, "relu")
        x = x.copy()
        x[0, 8, 8, 0] = np.nan
        y = KERNEL.forward(x, weight, bias, **options)[0]
        assert np.isnan(y[0, 7:10, 7:10]).all()
        assert not np.isnan(y[1]).any()
