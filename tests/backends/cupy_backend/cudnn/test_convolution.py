"""What cuDNN is asked for: layouts, dtypes, padding, targets, and what is left to the patches.

What cuDNN really computes is tested on a GPU, in test_on_a_gpu.py.
"""

import numpy as np
import pytest
from described_gpu import problems
from fake_cudnn import GENERAL, on_device

from nnlib_backends.base import GradOut, anywhere
from nnlib_backends.cupy_backend.cudnn.convolution import Epilogue

OPTIONS = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
PATCHES = GENERAL["conv2d"]
GEOMETRIES = [
    {},
    {"padding": (1, 2)},
    {"stride": (2, 3), "padding": (1, 0)},
    {"dilation": (2, 1), "padding": (2, 1)},
    {"groups": 2, "padding": (1, 1)},
]
ALL = (True, True, True)
TOLERANCE = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


def arrays(dtype="float32", parameters=None, groups=1, channels=4, activation=None, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, channels))
    weight = rng.normal(size=(6, 3, 2, channels // groups))
    bias = rng.normal(size=6)
    y = PATCHES.forward(x, weight, bias, **{**OPTIONS, **options, "groups": groups})[0]
    parameters = parameters or dtype
    return (
        on_device(x, dtype), on_device(weight, parameters), on_device(bias, parameters),
        on_device(rng.normal(size=y.shape), dtype),
    )  # fmt: skip


def reference(g, x, weight, bias, **options):
    """Result and gradients in float64, of the numbers that the kernel gets."""
    g, x, weight, bias = (a.astype(np.float64).view(np.ndarray) for a in (g, x, weight, bias))
    y, saved = PATCHES.forward(x, weight, bias, **options)
    return y, PATCHES.backward(g, saved, anywhere(ALL), x, weight, bias, **options)


def close(actual, expected, tolerance=1e-5):
    actual = np.asarray(actual).astype(np.float64)
    assert np.abs(actual - expected).max() <= tolerance * max(np.abs(expected).max(), 1)


def kinds(world):
    return [graph.kind for graph in world.log]


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_agrees_with_patches(world, options, activation):
    options = {**OPTIONS, **options, "activation": activation}
    kernel = world.kernels["conv2d"]
    x, weight, bias, g = arrays(**options)
    y, saved = kernel.forward(x, weight, bias, **options)
    gradients = kernel.backward(g, saved, anywhere(ALL), x, weight, bias, **options)
    expected, wanted = reference(g, x, weight, bias, **options)
    close(y, expected)
    for actual, want in zip(gradients, wanted, strict=True):
        close(actual, want)
    assert kinds(world) == ["forward", "image", "filters"]


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("channels", [4, 8])  # with and without padding
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("parameters", ["float32", "as the data"])
def test_mixed_precision(world, dtype, parameters, channels, activation):
    options = {**OPTIONS, "padding": (1, 1), "activation": activation}
    kernel = world.kernels["conv2d"]
    parameters = dtype if parameters == "as the data" else parameters
    x, weight, bias, g = arrays(dtype, parameters, channels=channels, **options)
    y, saved = kernel.forward(x, weight, bias, **options)
    gradients = kernel.backward(g, saved, anywhere(ALL), x, weight, bias, **options)
    assert y.dtype == x.dtype
    assert [d.dtype for d in gradients] == [x.dtype, weight.dtype, weight.dtype]
    rounded = [a.astype(dtype) for a in (weight, bias)]
    expected, wanted = reference(g, x, *rounded, **options)
    close(y, expected, TOLERANCE[dtype])
    for actual, want in zip(gradients, wanted, strict=True):
        close(actual, want, TOLERANCE[dtype])
    if parameters == "float32" and activation != "tanh":  # whose derivative is of rounded numbers
        close(gradients[2], wanted[2], 1e-5)
    assert {graph.inputs[0].data_type for graph in world.log} == {dtype}


def test_relu_is_part_of_the_plan(world):
    x, weight, bias, _ = arrays()
    kernel = world.kernels["conv2d"]
    kernel.forward(x, weight, bias, **OPTIONS, activation="relu")
    kernel.forward(x, weight, bias, **OPTIONS, activation="tanh")
    kernel.forward(x, weight, None, **OPTIONS)
    assert [graph.relu_tensor is not None for graph in world.log] == [True, False, False]
    assert [graph.bias_tensor is not None for graph in world.log] == [True, True, False]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_first_layers_get_channels_of_zeros(world, dtype):
    """Image and filters are padded once, in the forward pass; the image's gradient is not."""
    world.tf32 = True
    kernel = world.kernels["conv2d"]
    x, weight, bias, g = arrays(dtype, channels=3)
    _, saved = kernel.forward(x, weight, bias, **OPTIONS)
    gradients = kernel.backward(g, saved, anywhere(ALL), x, weight, bias, **OPTIONS)
    _, wanted = reference(g, x, weight, bias, **OPTIONS)
    for actual, want in zip(gradients, wanted, strict=True):
        close(actual, want, TOLERANCE[dtype])
        assert actual.flags.c_contiguous
    pack = 4 if dtype == "float32" else 8
    forward, image, filters = world.log
    assert [t.dim[1] for t in forward.inputs] == [pack, pack]
    assert [t.dim[1] for t in (image.inputs[1], image.outputs[0])] == [3, 3]
    assert [t.dim[1] for t in (filters.inputs[0], filters.outputs[0])] == [pack, pack]
    assert filters.inputs[0].dim == forward.inputs[0].dim


@pytest.mark.parametrize(
    ("options", "tf32"), [({"groups": 3}, True), ({}, False)], ids=["groups", "exact float32"]
)
def test_others_are_not_padded(world, options, tf32):
    world.tf32 = tf32
    x, weight, bias, _ = arrays(channels=3, **options)
    world.kernels["conv2d"].forward(x, weight, bias, **{**OPTIONS, **options})
    assert world.log[0].inputs[0].dim[1] == 3


def test_gradients_go_where_they_belong(world):
    kernel = world.kernels["conv2d"]
    for dtype, channels in (("float32", 4), ("float32", 3), ("bfloat16", 8)):
        world.tf32 = channels == 3
        x, weight, bias, g = arrays(dtype, "float32", channels=channels)
        flat = on_device(np.full(weight.size + 6, np.nan))
        homes = (None, flat[:-6].reshape(weight.shape), flat[-6:])
        _, saved = kernel.forward(x, weight, bias, **OPTIONS)
        gradients = kernel.backward(g, saved, [*map(GradOut, homes)], x, weight, bias, **OPTIONS)
        assert gradients[1] is homes[1]
        assert gradients[2] is homes[2]
        _, wanted = reference(g, x, weight.astype(dtype), bias, **OPTIONS)
        for actual, want in zip(gradients, wanted, strict=True):
            close(actual, want, TOLERANCE[dtype])


def test_filters_gradient_is_written_by_cudnn_itself(world, monkeypatch):
    kernel = world.kernels["conv2d"]
    x, weight, bias, g = arrays()
    home, seen = on_device(np.empty(weight.shape)), []
    run = world.planner.run
    monkeypatch.setattr(world.planner, "run", lambda p, b: seen.append(b) or run(p, b))
    kernel.backward(g, (None,) * 3, (None, GradOut(home), None), x, weight, bias, **OPTIONS)
    assert seen[0][2] is home
    moved = on_device(np.empty(weight.size + 1))[1:].reshape(weight.shape)  # 4 bytes too far
    outs = (None, GradOut(moved), None)
    found = kernel.backward(g, (None,) * 3, outs, x, weight, bias, **OPTIONS)[1]
    assert found is moved
    np.testing.assert_array_equal(found, home)


def test_bias_gradient_and_derivative_are_one_pass_of_the_backends(world):
    calls = []

    def activate(y, activation):
        calls.append(activation)
        return np.tanh(y)

    def sum_bias(g, y, activation, out):
        calls.append(activation)
        d = g if y is None else g * (y > 0)
        return d, d.sum(axis=(0, 1, 2), out=out)

    kernel = world.make(Epilogue(activate, sum_bias))["conv2d"]
    x, weight, bias, g = arrays()
    for activation, expected in (("relu", ["relu"]), (None, [None]), ("tanh", ["tanh"])):
        calls.clear()
        options = {**OPTIONS, "activation": activation}
        y, saved = kernel.forward(x, weight, bias, **options)
        needed = (True, True, activation != "tanh")
        gradients = kernel.backward(g, saved, anywhere(needed), x, weight, bias, **options)
        assert calls == expected
        result, wanted = reference(g, x, weight, bias, **options)
        close(y, result)
        for actual, want, is_needed in zip(gradients, wanted, needed, strict=True):
            assert (actual is not None) == is_needed
            if is_needed:
                close(actual, want)
    home, saved = on_device(np.zeros(6)), (None, None, None)
    db = kernel.backward(g, saved, (None, None, GradOut(home)), x, weight, bias, **OPTIONS)[2]
    assert db is home
    close(home, g.astype(np.float64).sum(axis=(0, 1, 2)))


def test_only_what_is_needed_is_computed(world):
    x, weight, bias, g = arrays()
    kernel, saved = world.kernels["conv2d"], (None, None, None)
    dx, dw, db = kernel.backward(
        g, saved, anywhere((False, True, False)), x, weight, bias, **OPTIONS
    )
    assert dx is None
    assert db is None
    assert dw.shape == weight.shape
    assert kinds(world) == ["filters"]


def test_views_are_laid_out_and_aligned_first(world):
    x, weight, bias, g = arrays()
    kernel = world.kernels["conv2d"]
    flat = on_device(np.empty(weight.size + 1))[1:]  # 4 bytes behind an aligned address
    flat[...] = weight.reshape(-1)
    x_view = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    g_view = np.ascontiguousarray(g.swapaxes(1, 2)).swapaxes(1, 2)
    operands = (x_view.view(type(x)), flat.reshape(weight.shape), bias)
    y, saved = kernel.forward(*operands, **OPTIONS)
    gradients = kernel.backward(g_view.view(type(x)), saved, anywhere(ALL), *operands, **OPTIONS)
    expected, wanted = reference(g, x, weight, bias, **OPTIONS)
    close(y, expected)
    for actual, want in zip(gradients, wanted, strict=True):
        close(actual, want)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("missing", [{"forward"}, {"image"}, {"filters"}, {"image", "filters"}])
def test_patches_do_what_cudnn_does_not(world, missing, dtype):
    world.unsupported = missing
    options = {**OPTIONS, "activation": "relu"}
    kernel = world.kernels["conv2d"]
    x, weight, bias, g = arrays(dtype, "float32")
    y, saved = kernel.forward(x, weight, bias, **options)
    gradients = kernel.backward(g, saved, anywhere(ALL), x, weight, bias, **options)
    expected, wanted = reference(g, x, weight, bias, **options)
    close(y, expected, TOLERANCE[dtype])
    assert [d.dtype for d in gradients] == [x.dtype, np.float32, np.float32]
    if dtype == "float32":  # else numbers of other signs after rounding have other derivatives
        for actual, want in zip(gradients, wanted, strict=True):
            close(actual, want)


def test_float64_and_empty_batches_go_to_the_patches(world):
    kernel = world.kernels["conv2d"]
    x, weight, bias, g = arrays("float64")
    y, saved = kernel.forward(x, weight, bias, **OPTIONS)
    assert y.dtype == np.float64
    gradients = kernel.backward(g, saved, anywhere(ALL), x, weight, bias, **OPTIONS)
    for actual, want in zip(gradients, reference(g, x, weight, bias, **OPTIONS)[1], strict=True):
        close(actual, want, 1e-12)
    x, weight, bias, _ = arrays()
    assert kernel.forward(x[:0], weight, bias, **OPTIONS)[0].shape == (0, 7, 7, 6)
    assert world.log == []


def test_tf32_is_an_explicit_choice(world):
    x, weight, bias, _ = arrays()
    kernel = world.kernels["conv2d"]
    always = ["down", "reduced", "chance"]
    kernel.forward(x, weight, bias, **OPTIONS)
    assert world.log[-1].notes == [*always, "tensor"]
    world.tf32 = True
    kernel.forward(x, weight, bias, **OPTIONS)
    assert world.log[-1].notes == always
    world.tf32 = False
    kernel.forward(*(on_device(array, "float16") for array in (x, weight, bias)), **OPTIONS)
    assert world.log[-1].notes == always


@pytest.mark.parametrize("precision", problems.DTYPES)
def test_it_asks_for_what_is_planned_for_a_described_gpu(world, precision):
    """Otherwise `test_plans` would plan something else than what is computed."""
    world.tf32 = precision == "tf32"
    known = problems.lenet()
    for (n, size, _, c), o, padding in (((32, 28, 28, 1), 6, 2), ((32, 14, 14, 6), 16, 0)):
        options = {**OPTIONS, "padding": (padding, padding), "activation": "tanh"}
        x = on_device(np.ones((n, size, size, c)), problems.DTYPES[precision])
        weight, bias = on_device(np.ones((o, 5, 5, c))), on_device(np.ones(o))
        kernel = world.kernels["conv2d"]
        y, saved = kernel.forward(x, weight, bias, **options)
        kernel.backward(y, saved, anywhere(ALL), x, weight, bias, **options)
        expected = [known[f"{direction} {c} {precision}"] for direction in problems.DIRECTIONS]
        assert list(world.planner._plans)[-3:] == expected
