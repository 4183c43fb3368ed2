"""CuPy itself, on a GPU: run with ``pytest -m gpu``."""

import numpy as np
import pytest

from nnlib_backends import load_backend, use_backend
from nnlib_backends.base import anywhere
from nnlib_backends.common import im2col
from nnlib_backends.numpy_backend import namespace

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    return load_backend("cupy")


def test_arrays_go_there_and_come_back(cupy):
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    array = cupy.asarray(host)
    assert cupy.owns(array)
    host[...] = 0
    np.testing.assert_array_equal(cupy.to_numpy(array), np.arange(6).reshape(2, 3))
    assert cupy.asarray(array) is array
    assert cupy.asarray(array, copy=True) is not array
    with pytest.raises(ValueError, match="without a copy"):
        cupy.asarray(host, copy=False)


def test_torch_tensor_on_the_gpu_is_shared(cupy):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    tensor = torch.zeros(3, device="cuda")
    cupy.asarray(tensor)[0] = 5
    cupy.synchronize()
    assert tensor.tolist() == [5, 0, 0]


def test_timer_measures_the_gpu_not_the_launch(cupy):
    a = cupy.xp.ones((4096, 4096), dtype="float32")
    for count in (1, 40):  # the first warms up
        timer = cupy.timer()
        timer.start()
        for _ in range(count):
            a @ a
        timer.stop()
        seconds = timer.seconds()
    assert 40 * 2 * 4096**3 / seconds < 3e15  # no GPU is that fast: the products were waited for


def test_device_is_described(cupy):
    info = cupy.device_info()
    assert info.kind == "gpu"
    assert info.cores > 1
    assert info.memory_bytes > 1 << 30
    assert info.details["float32_precision"] in ("FP32", "TF32")
    assert float(info.details["compute_capability"]) >= 5
    assert {"cupy", "cuda_runtime", "cublas"} <= info.libraries.keys()


def test_memory_is_measured(cupy):
    cupy.reset_peak_memory()
    before = cupy.memory_info()
    ballast = cupy.xp.ones(1 << 24, dtype="float32")
    during = cupy.memory_info()
    assert during.used - before.used >= ballast.nbytes
    del ballast
    after = cupy.memory_info()
    assert after.used < during.used
    assert after.peak >= during.used
    cupy.reset_peak_memory()
    assert cupy.memory_info().peak < during.used


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
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
def test_convolution_agrees_with_numpy(cupy, options, dtype):
    options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **options}
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 4)).astype(dtype)
    weight = rng.normal(size=(6, 3, 2, 4 // options["groups"])).astype(dtype)
    bias = rng.normal(size=6).astype(dtype)
    kernel, reference = cupy.kernels["conv2d"], im2col.make_kernels(namespace)["conv2d"]
    expected, _ = reference.forward(*(a.astype("float64") for a in (x, weight, bias)), **options)
    device = [cupy.asarray(a) for a in (x, weight, bias)]
    y, saved = kernel.forward(*device, **options)
    tf32 = cupy.device_info().details["float32_precision"] == "TF32"
    tolerance = {"float64": 1e-12, "float32": 2e-3 if tf32 else 1e-5, "float16": 1e-2}[dtype]
    scale = np.abs(expected).max()
    assert np.abs(cupy.to_numpy(y) - expected).max() <= tolerance * scale
    g = rng.normal(size=expected.shape).astype(dtype)
    needed = (True, True, True)
    actual = kernel.backward(cupy.asarray(g), saved, anywhere(needed), *device, **options)
    wide = [a.astype("float64") for a in (g, x, weight, bias)]
    wanted = reference.backward(wide[0], None, anywhere(needed), *wide[1:], **options)
    for a, w in zip(actual, wanted, strict=True):
        assert np.abs(cupy.to_numpy(a) - w).max() <= tolerance * max(np.abs(w).max(), 1)


def test_second_gpu_keeps_its_arrays_to_itself(cupy):
    import cupy as library

    if library.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU only")
    second = load_backend("cupy:1")
    array = second.xp.zeros(3)
    assert second.owns(array)
    assert not cupy.owns(array)
    moved = second.asarray(cupy.asarray([1.0, 2.0]))
    assert second.owns(moved)
    with second.scope:
        assert second.owns(moved + 1)
    with use_backend("cupy:1") as chosen:
        assert chosen is second
    assert library.cuda.runtime.getDevice() == 0
