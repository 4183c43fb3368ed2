"""cuBLASLt itself, on a GPU: run with ``pytest -m gpu``."""

import ml_dtypes
import numpy as np
import pytest

from nnlib_backends import load_backend
from nnlib_backends.base import ANYWHERE, GradOut, anywhere
from nnlib_backends.common import fused
from nnlib_backends.cupy_backend.gemm import import_cublaslt, make_products
from nnlib_backends.cupy_backend.gemm.linear import Linear
from nnlib_backends.cupy_backend.gemm.tuning import CudaClock, Tuner
from nnlib_backends.cupy_backend.tuning_cache import TuningCache
from nnlib_backends.numpy_backend import namespace

pytestmark = pytest.mark.gpu
DEFINITION = fused.make_kernels(namespace)["linear"]
DTYPES = ["float32", "float64", "float16", "bfloat16"]
LOW = ["float16", "bfloat16"]


@pytest.fixture
def cupy():
    backend = load_backend("cupy")
    if backend.tracer() is None:
        pytest.skip("nvmath-python or cuBLASLt is missing")
    return backend


def normal(*shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(cupy, actual, expected, dtype):
    tf32 = cupy.device_info().details["float32_precision"] == "TF32"
    tolerance = 4 * float(ml_dtypes.finfo(dtype).eps)
    if dtype == "float32":
        tolerance = 5e-3 if tf32 else 1e-5
    actual = cupy.to_numpy(actual).astype(np.float64)
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1)
    )


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid", "gelu_tanh"])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("sums_in_product", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(256, 64, 128), (33, 17, 65), (1, 3, 5)])
def test_linear(cupy, monkeypatch, sizes, dtype, sums_in_product, biased, activation):
    monkeypatch.setattr(Linear, "sums_in_product", sums_in_product)
    rows, n_out, n_in = sizes
    wide = "float64" if dtype == "float64" else "float32"
    x, weight = normal(rows, n_in, dtype=dtype), normal(n_out, n_in, dtype=wide, seed=1)
    host = x, weight, normal(n_out, dtype=wide, seed=2) if biased else None
    exact = [None if a is None else a.astype(np.float64) for a in host]
    given = [None if a is None else cupy.asarray(a) for a in host]
    linear = cupy.kernels["linear"]
    y, saved = linear.forward(*given, activation=activation)
    close(cupy, y, DEFINITION.forward(*exact, activation=activation)[0], dtype)
    assert y.dtype == dtype
    g = normal(rows, n_out, dtype=dtype, seed=3)
    target = cupy.xp.empty(weight.shape, dtype=wide)
    outs = ANYWHERE, GradOut(target), ANYWHERE if biased else None
    kept = None if activation is None else cupy.to_numpy(saved[0]).astype(np.float64)
    grads = linear.backward(cupy.asarray(g), saved, outs, *given, activation=activation)
    wanted = DEFINITION.backward(
        g.astype(np.float64), kept, anywhere((True, True, biased)), *exact, activation=activation
    )
    assert grads[1] is target
    for gradient, expected, kind in zip(grads, wanted, (dtype, wide, wide), strict=True):
        if expected is not None:
            assert gradient.dtype == kind
            close(cupy, gradient, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["BIAS", "RELU_BIAS", "GELU_AUX_BIAS", "BGRADB"])
def test_epilogues_that_the_library_has(cupy, name, dtype):
    """Which of them are there, a skip tells; where one is missing, a pass does it."""
    xp, wide = cupy.xp, name == "BGRADB"
    kind = "float32" if wide and dtype in LOW else dtype
    a, b = (cupy.asarray(normal(256, 256, dtype=dtype, seed=i)) for i in range(2))
    out, vector = xp.zeros((256, 256), dtype=kind), xp.ones(256, dtype=kind)
    aux = xp.zeros((256, 256), dtype=kind) if "AUX" in name else None
    if not cupy.products.fused(a, b, out, name, vector, aux):
        pytest.skip(f"cuBLASLt has no {name} for {dtype}")
    exact = cupy.to_numpy(a).astype(np.float64) @ cupy.to_numpy(b).astype(np.float64)
    if wide:
        close(cupy, out, exact, dtype)
        close(cupy, vector, cupy.to_numpy(a).astype(np.float64).sum(axis=1), dtype)
    elif aux is not None:
        close(cupy, aux, exact + 1, dtype)
        close(cupy, out, gelu_tanh(exact + 1), dtype)
    else:
        z = exact + 1
        close(cupy, out, np.maximum(z, 0) if "RELU" in name else z, dtype)


def gelu_tanh(z):
    return fused.make_kernels(namespace)["gelu"].forward(z, approximate="tanh")[0]


@pytest.mark.parametrize("dtype", LOW)
def test_sums_of_products_of_16_bits_are_in_float32(cupy, dtype):
    a, b = normal(16, 4096, dtype=dtype), normal(4096, 16, dtype=dtype, seed=1)
    out = cupy.xp.empty((16, 16), dtype="float32")
    cupy.products.matmul(cupy.asarray(a), cupy.asarray(b), out=out)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(cupy.to_numpy(out), exact, rtol=0, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", LOW)
def test_products_of_16_bits_without_cublaslt(cupy, dtype, transposed):
    import cupy as module

    products = make_products(None, module, cupy.device, lambda: False)
    a, b = normal(24, 4096, dtype=dtype), normal(4096, 16, dtype=dtype, seed=1)
    left, right = cupy.asarray(a), cupy.asarray(b)
    if transposed:
        left, right = (module.ascontiguousarray(x.T).T for x in (left, right))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    close(cupy, products.matmul(left, right), exact, dtype)
    out = module.empty((24, 16), dtype="float32")
    products.product(left, right, out)
    np.testing.assert_allclose(cupy.to_numpy(out), exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    batch = products.matmul(module.stack([left, left]), right)
    close(cupy, batch[1], exact, dtype)
    one = products.matmul(left[:1], right[:, :1])
    close(cupy, one, exact[:1, :1], dtype)


class Nth(Tuner):
    """Takes an algorithm by its place."""

    def __init__(self, place):
        self.place, self.count = place, 0

    def choose(self, problem, algorithms, run):
        self.count = len(algorithms)
        return algorithms[min(self.place, self.count - 1)]


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_algorithm_that_is_proposed_computes_the_product(cupy, dtype, place):
    import cupy as module

    products = make_products(import_cublaslt(), module, cupy.device, lambda: False)
    products._lt._tuner = Nth(place)
    a, b = normal(384, 512, dtype=dtype), normal(512, 256, dtype=dtype, seed=1)
    result = products.matmul(cupy.asarray(a), cupy.asarray(b))
    close(cupy, result, a.astype(np.float64) @ b.astype(np.float64), dtype)


def test_algorithms_are_measured_once_and_never_in_a_capture(cupy, tmp_path):
    import cupy as module

    choices = TuningCache("cublaslt", "1", "GPU", tmp_path)
    products = make_products(import_cublaslt(), module, cupy.device, lambda: False)
    products._lt._tuner = Tuner(choices, CudaClock(module, cupy.device))
    a, b = (cupy.asarray(normal(512, 512, dtype="float32", seed=i)) for i in range(2))
    expected = cupy.to_numpy(a) @ cupy.to_numpy(b)
    close(cupy, products.matmul(a, b), expected, "float32")
    assert choices.path.exists()
    before = choices.path.read_text()
    stream = module.cuda.Stream(non_blocking=True)
    out = module.empty((512, 256), dtype="float32")
    half = module.ascontiguousarray(b[:, :256])
    module.cuda.Device().synchronize()
    with stream:
        products._lt._workspace(stream.ptr, 32 << 20)  # memory is taken before the capture
        stream.begin_capture()
        products.matmul(a, half, out=out)
        graph = stream.end_capture()
    graph.launch(stream)
    stream.synchronize()
    close(cupy, out, expected[:, :256], "float32")
    assert choices.path.read_text() == before


@pytest.mark.parametrize("dtype", LOW)
def test_nan_goes_through_a_relu_in_the_product(cupy, dtype):
    """In the epilogue of 16-bit kernels; of float32, see test_compiled_steps.py."""
    x, weight = normal(16, 32, dtype=dtype), normal(8, 32, dtype="float32", seed=1)
    x[1, 2] = np.nan
    y, _ = cupy.kernels["linear"].forward(
        cupy.asarray(x), cupy.asarray(weight), cupy.xp.zeros(8, dtype="float32"), activation="relu"
    )
    assert np.isnan(cupy.to_numpy(y)[1].astype(np.float32)).all()
