"""What cuDNN computes, against the general kernels in float64: run with ``pytest -m gpu``."""

import importlib.util

import ml_dtypes
import numpy as np
import pytest
from fake_cudnn import GENERAL

import nnlib
from nnlib import nn
from nnlib.nn import functional as F
from nnlib_backends import load_backend
from nnlib_backends.base import anywhere
from nnlib_backends.cupy_backend.cudnn import planner as planners
from nnlib_backends.cupy_backend.cudnn.convolution import make_convolution
from nnlib_backends.cupy_backend.tuning_cache import TuningCache
from nnlib_backends.dtypes import tf32_allowed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("cudnn") is None, reason="cuDNN is missing"),
]
DTYPES = {
    "float32": np.float32, "tf32": np.float32, "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}  # fmt: skip
TOLERANCE = {"float32": 2e-5, "tf32": 3e-3, "float16": 4e-3, "bfloat16": 3e-2}
CONVOLUTION = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


@pytest.fixture(scope="module")
def cupy():
    return load_backend("cupy")


def close(cupy, actual, expected, tolerance):
    actual = cupy.to_numpy(actual).astype(np.float64)
    assert np.abs(actual - expected).max() <= tolerance * max(np.abs(expected).max(), 1)


def compare(cupy, name, arrays, needed, precision, **options):
    """Result and gradients, against those of the same numbers in float64."""
    kernel, general = cupy.kernels[name], GENERAL[name]
    device = [None if a is None else cupy.asarray(a) for a in arrays]
    exact = [a if a is None or a.dtype.kind == "b" else a.astype(np.float64) for a in arrays]
    y, saved = kernel.forward(*device, **options)
    expected, kept = general.forward(*exact, **options)
    assert y.dtype == arrays[0].dtype
    close(cupy, y, expected, TOLERANCE[precision])
    g = np.random.default_rng(1).normal(size=expected.shape).astype(arrays[0].dtype)
    found = kernel.backward(cupy.asarray(g), saved, anywhere(needed), *device, **options)
    wanted = general.backward(g.astype(np.float64), kept, anywhere(needed), *exact, **options)
    for array, gradient, want, is_needed in zip(arrays, found, wanted, needed, strict=True):
        if is_needed:
            assert gradient.dtype == array.dtype
            close(cupy, gradient, want, TOLERANCE[precision])


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid"])
@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (1, {"padding": (2, 2)}),
        (3, {"padding": (1, 1)}),
        (6, {}),
        (16, {"stride": (2, 3), "padding": (1, 0)}),
        (16, {"dilation": (2, 1), "padding": (2, 1)}),
        (16, {"groups": 2, "padding": (1, 1)}),
        (64, {"padding": (1, 1)}),
    ],
    ids=str,
)
def test_convolution(cupy, channels, options, activation, precision):
    """With parameters of float32; what is rounded to 16 bits is rounded in the reference, too."""
    options = {**CONVOLUTION, **options}
    rng, dtype = np.random.default_rng(0), DTYPES[precision]
    x = rng.normal(size=(2, 19, 18, channels)).astype(dtype)
    fan_in = 6 * channels // options["groups"]
    weight = rng.normal(size=(32, 3, 2, channels // options["groups"])) / np.sqrt(fan_in)
    arrays = [x, *(a.astype(dtype).astype(np.float32) for a in (weight, rng.normal(size=32)))]
    token = tf32_allowed.set(precision == "tf32")
    try:
        compare(cupy, "conv2d", arrays, (True, True, True), precision, activation=None, **options)
        if activation is not None:  # a ReLU's derivative jumps where rounding differs
            kernel = cupy.kernels["conv2d"]
            device = [cupy.asarray(a) for a in arrays]
            exact = [a.astype(np.float64) for a in arrays]
            y, _ = kernel.forward(*device, activation=activation, **options)
            expected, _ = GENERAL["conv2d"].forward(*exact, activation=activation, **options)
            close(cupy, y, expected, TOLERANCE[precision])
    finally:
        tf32_allowed.reset(token)


@pytest.mark.parametrize("precision", DTYPES)
def test_nan_goes_through_relu(cupy, precision):
    """A fused ReLU must not hide that a training has failed."""
    x = np.ones((1, 8, 8, 16), DTYPES[precision])
    x[0, 3, 3] = np.nan
    weight = cupy.asarray(np.ones((8, 3, 3, 16), np.float32))
    kernel = cupy.kernels["conv2d"]
    y, _ = kernel.forward(cupy.asarray(x), weight, None, activation="relu", **CONVOLUTION)
    assert np.isnan(cupy.to_numpy(y).astype(np.float32)[0, 1:4, 1:4]).all()


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("mask", [None, "choice", "added"])
@pytest.mark.parametrize(("time", "heads", "features"), [(64, 3, 64), (129, 2, 16), (33, 2, 128)])
def test_attention(cupy, time, heads, features, mask, dropout, causal, precision):
    rng = np.random.default_rng(0)
    qkv = rng.normal(size=(2, time, 3, heads, features)).astype(DTYPES[precision])
    masks = {
        None: None,
        "choice": rng.random((2, 1, time, time)) < 0.8,
        "added": rng.normal(size=(1, heads, time, time)).astype(np.float32),
    }
    if mask == "choice":
        masks[mask][0, 0, 5] = False  # sees nothing
    factor = (rng.random((2, heads, time, time)) < 0.9) / np.float32(0.9) if dropout else None
    arrays = (masks[mask], None if factor is None else factor.astype(np.float32))
    options = {"causal": causal, "scale": None}
    needed = (True, False, False)
    compare(cupy, "self_attention", (qkv, *arrays), needed, precision, **options)
    parts = [np.ascontiguousarray(qkv[:, :, i]) for i in range(3)]
    needed = (True, True, True, False, False)
    compare(cupy, "attention", (*parts, *arrays), needed, precision, **options)


def test_attention_of_the_last_queries(cupy):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, n, 3, 64)).astype(ml_dtypes.bfloat16) for n in (40, 77, 77))
    needed = (True, True, True, False, False)
    for causal in (False, True):
        arrays = (q, k, v, None, None)
        compare(cupy, "attention", arrays, needed, "bfloat16", causal=causal, scale=None)


def test_gradients_of_attention_are_the_same_each_time(cupy):
    rng = np.random.default_rng(0)
    qkv = cupy.asarray(rng.normal(size=(4, 512, 3, 8, 64)).astype(ml_dtypes.bfloat16))
    kernel, options = cupy.kernels["self_attention"], {"causal": True, "scale": None}
    y, saved = kernel.forward(qkv, None, None, **options)
    found = [
        cupy.to_numpy(
            kernel.backward(y, saved, anywhere((True, False, False)), qkv, None, None, **options)[0]
        )
        for _ in range(5)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.view(np.uint16), found[0].view(np.uint16))


def test_measuring_finds_a_plan_and_keeps_it(cupy, tmp_path, monkeypatch):
    import cudnn
    import cupy as library

    monkeypatch.setenv("NNLIB_CUDNN_AUTOTUNE", "1")
    choices = TuningCache("cudnn", cudnn.backend_version_string(), "this GPU", tmp_path)
    planner = planners.Planner(cudnn, library, cupy.device, choices)
    kernel = make_convolution(planner, cupy.xp, GENERAL["conv2d"], lambda: False)
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(8, 56, 56, 64)), rng.normal(size=(64, 3, 3, 64)) / 24
    x, weight = x.astype(np.float16), weight.astype(np.float16)
    y, _ = kernel.forward(cupy.asarray(x), cupy.asarray(weight), None, **CONVOLUTION)
    exact = [a.astype(np.float64) for a in (x[:1], weight)]
    close(cupy, y[:1], GENERAL["conv2d"].forward(*exact, None, **CONVOLUTION)[0], 4e-3)
    assert choices.path.is_file()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_compiled_step_is_the_same_as_an_eager_one(cupy, precision):
    """Convolution and attention, both directions, inside of a CUDA graph."""
    rng = np.random.default_rng(0)
    with nnlib.use_backend("cupy"):
        nnlib.manual_seed(0)
        conv = nn.Conv2d(3, 64, 3, padding=1)
        attend = nn.MultiheadAttention(64, 4)
        parameters = [*conv.parameters(), *attend.parameters()]

        def step(x):
            for parameter in parameters:
                parameter.grad = None
            with nnlib.autocast(precision):
                y = F.relu(conv(x)).reshape(4, 64, 64)
                loss = (attend(y, y, y, need_weights=False)[0] ** 2).mean()
            loss.backward()
            return loss

        compiled = nnlib.compile(step)
        for _ in range(4):
            x = nnlib.tensor(rng.normal(size=(4, 8, 8, 3)).astype(np.float32))
            assert float(compiled(x)) == float(step(x))
