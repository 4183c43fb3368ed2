"""The way to cuDNN and back: layouts, plans, alignment, and what is left to the patches.

A double of cuDNN, which reads and writes NumPy's memory by the dimensions and strides that it was
told, stands for it.  What cuDNN really computes is tested on a GPU, in test_backend.py.
"""

import ctypes
import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from nnlib_backends import patches
from nnlib_backends.cupy_backend import cudnn_graph
from nnlib_backends.numpy_backend import namespace

OPTIONS = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
PATCHES = patches.make_kernels(namespace)["conv2d"]


class NotSupportedError(RuntimeError):
    pass


class Tensor:
    def __init__(self, uid=None, dim=None, stride=None, data_type=None, **_):
        self.uid, self.dim, self.stride, self.data_type = uid, dim, stride, data_type

    def __getattr__(self, name):  # set_dim, set_stride, …
        def setter(value):
            setattr(self, name.removeprefix("set_"), value)
            return self

        return setter

    def at(self, pointers):
        """The memory behind the tensor: what cuDNN sees."""
        address = pointers[self.uid]
        assert address % 16 == 0, "cuDNN may not load from here"
        dtype = np.dtype(self.data_type)
        count = 1 + sum((d - 1) * s for d, s in zip(self.dim, self.stride, strict=True))
        memory = np.frombuffer(
            (ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype
        )
        strides = [s * dtype.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(memory, self.dim, strides)


class Graph:
    """Computes by patches what cuDNN is asked for."""

    log: list = []  # noqa: RUF012 - of a test; cleared by the fixture

    def __init__(self, io_data_type, handle, **_):
        self.context = SimpleNamespace(io_data_type=io_data_type)
        self.bias_tensor, self.notes = None, []

    tensor = staticmethod(Tensor)

    def _operation(self, kind, first, second, geometry):
        self.kind, self.first, self.second, self.geometry = kind, first, second, geometry
        self.output = Tensor()
        return self.output

    def conv_fprop(self, image, weight, **geometry):
        return self._operation("forward", image, weight, geometry)

    def conv_dgrad(self, loss, filter, **geometry):
        return self._operation("image", loss, filter, geometry)

    def conv_wgrad(self, image, loss, **geometry):
        return self._operation("filters", image, loss, geometry)

    def bias(self, input, bias):
        self.bias_tensor = bias
        return input

    def deselect_numeric_notes(self, notes):
        self.notes = notes

    def build_plans(self):
        Graph.log.append(self)
        if self.kind in Graph.unsupported:
            raise NotSupportedError

    def get_workspace_size(self):
        return 0

    def validate(self, *_):
        pass

    build_operation_graph = create_execution_plans = check_support = validate

    def execute(self, pointers, workspace, handle):
        assert handle.stream == 77
        nhwc = [
            t.at(pointers).transpose(0, 2, 3, 1) for t in (self.first, self.second, self.output)
        ]
        first, second, output = nhwc
        options = {key: tuple(value) for key, value in self.geometry.items()}
        image, filters = (
            (first, second)
            if self.kind == "forward"
            else (output, second)
            if self.kind == "image"
            else (first, output)
        )
        options["groups"] = image.shape[3] // filters.shape[3]
        if self.kind == "forward":
            bias = None if self.bias_tensor is None else self.bias_tensor.at(pointers).reshape(-1)
            output[...] = PATCHES.forward(first, second, bias, **options)[0]
            return
        g = second if self.kind == "filters" else first
        needs = (self.kind == "image", self.kind == "filters", False)
        gradients = PATCHES.backward(g, None, needs, image, filters, None, **options)
        output[...] = gradients[0 if self.kind == "image" else 1]


@pytest.fixture
def convolution(monkeypatch):
    """The module, with doubles of CuPy and cuDNN around it."""
    linalg = SimpleNamespace(COMPUTE_TYPE_TF32=7, get_compute_type=lambda dtype: 1)
    core = ModuleType("cupy._core")
    core._routines_linalg = linalg
    cupy = ModuleType("cupy")
    cupy.empty, cupy.ascontiguousarray, cupy._core = np.empty, np.ascontiguousarray, core
    cupy.cuda = SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=77))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    name = "nnlib_backends.cupy_backend.convolution"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)  # so that it is gone after the test
    monkeypatch.setattr(module, "_pointer", lambda array: array.ctypes.data)
    module.linalg = linalg
    Graph.log, Graph.unsupported = [], set()
    return module


@pytest.fixture
def kernel(convolution):
    class Device:
        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    cudnn = SimpleNamespace(
        pygraph=Graph,
        data_type=SimpleNamespace(FLOAT="float32", HALF="float16", BFLOAT16="bfloat16"),
        heur_mode=SimpleNamespace(A="A", FALLBACK="FALLBACK"),
        numerical_note=SimpleNamespace(
            DOWN_CONVERT_INPUTS="down", REDUCED_PRECISION_REDUCTION="reduced", TENSOR_CORE="tensor"
        ),
        cudnnGraphNotSupportedError=NotSupportedError,
        create_handle=lambda: SimpleNamespace(stream=None),
        set_stream=lambda handle, stream: setattr(handle, "stream", stream),
    )
    return convolution.make_kernel(convolution.Planner(cudnn, Device()), PATCHES)


def arrays(dtype=np.float32, groups=1, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 4)).astype(dtype)
    weight = rng.normal(size=(6, 3, 2, 4 // groups)).astype(dtype)
    bias = rng.normal(size=6).astype(dtype)
    y = PATCHES.forward(x, weight, bias, **{**OPTIONS, **options, "groups": groups})[0]
    return x, weight, bias, rng.normal(size=y.shape).astype(dtype)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": (1, 2)},
        {"stride": (2, 3), "padding": (1, 0)},
        {"dilation": (2, 1), "padding": (2, 1)},
        {"groups": 2, "padding": (1, 1)},
    ],
    ids=str,
)
def test_agrees_with_patches(kernel, options):
    x, weight, bias, g = arrays(**options)
    options = {**OPTIONS, **options}
    for b in (bias, None):
        y, saved = kernel.forward(x, weight, b, **options)
        np.testing.assert_allclose(y, PATCHES.forward(x, weight, b, **options)[0], rtol=1e-5)
    needs = (True, True, True)
    actual = kernel.backward(g, saved, needs, x, weight, bias, **options)
    expected = PATCHES.backward(g, None, needs, x, weight, bias, **options)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)
    assert [graph.kind for graph in Graph.log] == ["forward", "forward", "image", "filters"]


def test_a_plan_is_made_once_for_each_shape(kernel):
    x, weight, bias, g = arrays()
    for _ in range(3):
        kernel.forward(x, weight, bias, **OPTIONS)
        kernel.backward(g, None, (True, True, True), x, weight, bias, **OPTIONS)
    assert len(Graph.log) == 3
    kernel.forward(x[:1], weight, bias, **OPTIONS)
    kernel.forward(x, weight, bias, **{**OPTIONS, "padding": (1, 1)})
    assert len(Graph.log) == 5


def test_only_what_is_needed_is_computed(kernel):
    x, weight, bias, g = arrays()
    dx, dw, db = kernel.backward(g, None, (False, True, False), x, weight, bias, **OPTIONS)
    assert dx is None
    assert db is None
    assert dw.shape == weight.shape
    assert [graph.kind for graph in Graph.log] == ["filters"]


def test_views_are_laid_out_and_aligned_first(kernel):
    x, weight, bias, g = arrays()
    flat = np.empty(weight.size + 1, np.float32)[1:]  # 4 bytes behind an aligned address
    flat[...] = weight.reshape(-1)
    x_view = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    y, _ = kernel.forward(x_view, flat.reshape(weight.shape), bias, **OPTIONS)
    np.testing.assert_allclose(y, PATCHES.forward(x, weight, bias, **OPTIONS)[0], rtol=1e-5)
    g_view = np.ascontiguousarray(g.swapaxes(1, 2)).swapaxes(1, 2)
    dx, *_ = kernel.backward(g_view, None, (True, False, False), x, weight, bias, **OPTIONS)
    expected = PATCHES.backward(g, None, (True, False, False), x, weight, bias, **OPTIONS)[0]
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("missing", [{"forward"}, {"image"}, {"filters"}, {"image", "filters"}])
def test_patches_do_what_cudnn_does_not(kernel, missing):
    Graph.unsupported = missing
    x, weight, bias, g = arrays()
    y, saved = kernel.forward(x, weight, bias, **OPTIONS)
    np.testing.assert_allclose(y, PATCHES.forward(x, weight, bias, **OPTIONS)[0], rtol=1e-5)
    needs = (True, True, True)
    actual = kernel.backward(g, saved, needs, x, weight, bias, **OPTIONS)
    for a, e in zip(
        actual, PATCHES.backward(g, None, needs, x, weight, bias, **OPTIONS), strict=True
    ):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


def test_float64_and_empty_batches_go_to_the_patches(kernel):
    x, weight, bias, g = arrays(np.float64)
    y, _ = kernel.forward(x, weight, bias, **OPTIONS)
    assert y.dtype == np.float64
    kernel.backward(g, None, (True, True, True), x, weight, bias, **OPTIONS)
    x, weight, bias, _ = arrays()
    assert kernel.forward(x[:0], weight, bias, **OPTIONS)[0].shape == (0, 7, 7, 6)
    assert Graph.log == []


def test_tf32_is_an_explicit_choice(kernel, convolution):
    x, weight, bias, _ = arrays()
    kernel.forward(x, weight, bias, **OPTIONS)
    assert Graph.log[-1].notes == ["down", "reduced", "tensor"]
    convolution.linalg.get_compute_type = lambda dtype: 7  # CUPY_TF32=1
    kernel.forward(x, weight, bias, **OPTIONS)
    assert Graph.log[-1].notes == ["down", "reduced"]
    half = [array.astype(np.float16) for array in (x, weight, bias)]
    kernel.forward(*half, **OPTIONS)
    assert Graph.log[-1].notes == ["down", "reduced"]


def test_missing_or_old_cudnn_is_none(convolution, monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", None)
    assert convolution.import_cudnn() is None
    for version, usable in ((91800, False), (91900, True), (92800, True)):
        cudnn = SimpleNamespace(backend_version=lambda version=version: version)
        monkeypatch.setitem(sys.modules, "cudnn", cudnn)
        assert (convolution.import_cudnn() is cudnn) == usable


H100 = """{"deviceName": "NVIDIA H100 80GB HBM3", "cudaDeviceId": 0, "deviceVer": 900,
"driverVer": 12080, "isTccDriver": 0, "supportCoopLaunch": 1, "multiProcessorCount": 132,
"warpSize": 32, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
"regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
"maxThreadsPerSM": 2048, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
"reservedSharedMemoryPerBlock": 1024, "oversizedSharedMemoryPerBlock": 0, "l2CacheSize": 52428800,
"totalGlobalMem": 84974239744, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
"memoryBusWidth": 5120, "pciDeviceId": 9008}"""


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("direction", ["forward", "image", "filters"])
@pytest.mark.parametrize(
    ("image", "filters", "result", "padding"),
    [
        ((4, 224, 224, 3), (64, 3, 3, 3), (4, 224, 224, 64), (1, 1)),
        ((4, 14, 14, 512), (512, 3, 3, 512), (4, 14, 14, 512), (1, 1)),
        ((32, 28, 28, 1), (6, 5, 5, 1), (32, 28, 28, 6), (2, 2)),
        ((2, 9, 11, 6), (8, 3, 3, 3), (2, 7, 9, 8), (0, 0)),
    ],
    ids=["vgg first", "vgg last", "lenet", "two groups"],
)
def test_cudnn_plans_it_for_an_h100(dtype, direction, image, filters, result, padding):
    """The graphs are ones that cuDNN accepts: it plans for a GPU that is described, not there."""
    cudnn = pytest.importorskip("cudnn")
    try:
        device = cudnn.create_device_properties(H100)
    except RuntimeError as error:
        pytest.skip(f"cuDNN or the driver's library is missing: {error}")
    for tf32 in (False, True):
        problem = cudnn_graph.Problem(
            direction, image, filters, result, dtype, direction == "forward", (1, 1), padding,
            (1, 1), tf32,
        )  # fmt: skip
        graph = cudnn_graph.build(cudnn, problem, device_property=device, sm_version=90)
        assert graph.get_workspace_size() < 1 << 28
