"""``linear`` from end to end: launchers, ``epilogue.cu``, products with cuBLASLt and without.

The products are those of a double, or NumPy's; the passes before and after them are kernels.
"""

import importlib.util
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from fake_cublaslt import CublasLtDouble
from ops import test_conformance as conformance

import nnlib
from nnlib import nn
from nnlib.nn import functional as F
from nnlib_backends import load_backend, use_backend
from nnlib_backends.base import ANYWHERE, GradOut, anywhere
from nnlib_backends.common import fused
from nnlib_backends.cupy_backend.gemm import CublasGemm, linear
from nnlib_backends.cupy_backend.gemm.cublaslt import CublasLt
from nnlib_backends.numpy_backend import namespace

DEFINITION = fused.make_kernels(namespace)["linear"]
ACTIVATIONS = [None, "relu", "tanh", "sigmoid", "gelu_tanh"]
LOW = {"bf16": "bfloat16", "fp16": "float16"}


@pytest.fixture(params=["without cublaslt", "cublaslt"])
def backend(request, emulated, monkeypatch):
    if request.param == "cublaslt":
        monkeypatch.setattr(emulated, "lt", CublasLtDouble(), raising=False)
        products = CublasGemm(
            CublasLt(emulated.lt, lambda stream, nbytes: 7),
            emulated.xp,
            pointer=lambda array: array._array.ctypes.data,
            stream=lambda: 5,
            tf32=lambda: False,
        )
        general = emulated.kernels["linear"]
        own = linear.make_linear(products, emulated.launcher, general)
        monkeypatch.setitem(emulated.kernels, "linear", own)
    return emulated


def close(actual, expected, dtype):
    tolerance = max(4 * float(ml_dtypes.finfo(dtype).eps), 1e-5)
    actual = np.asarray(actual, np.float64)
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (33, 16, 31), (300, 24, 8), (3, 1031, 5)], ids=str)
def test_linear(backend, sizes, dtype, activation):
    rows, n_out, n_in = sizes
    rng = np.random.default_rng(0)
    wide = "float64" if dtype == "float64" else "float32"
    host = [
        rng.normal(size=shape).astype(kind)
        for shape, kind in (((rows, n_in), dtype), ((n_out, n_in), wide), (n_out, wide))
    ]
    exact = [array.astype(np.float64) for array in host]
    given = [backend.asarray(array) for array in host]
    kernel = backend.kernels["linear"]
    y, saved = kernel.forward(*given, activation=activation)
    assert y.dtype == dtype
    close(backend.to_numpy(y), DEFINITION.forward(*exact, activation=activation)[0], dtype)
    g = conformance.upstream((rows, n_out)).astype(dtype)
    target = backend.xp.empty((n_out,), dtype=wide)
    outs = (ANYWHERE, ANYWHERE, GradOut(target))
    found = kernel.backward(backend.asarray(g), saved, outs, *given, activation=activation)
    kept = None if activation is None else backend.to_numpy(saved[0]).astype(np.float64)
    wanted = DEFINITION.backward(
        g.astype(np.float64), kept, anywhere((True,) * 3), *exact, activation=activation
    )
    for ours, expected, kind in zip(found, wanted, (dtype, wide, wide), strict=True):
        assert ours.dtype == kind
        close(backend.to_numpy(ours), expected, dtype)
    assert found[2] is target
    assert dtype in {entry[1] for entry in backend.driver.log}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_are_added_to_what_is_there(backend, dtype, activation):
    rng = np.random.default_rng(1)
    host = [rng.normal(size=shape).astype("f4") for shape in ((33, 8), (16, 8), (16,))]
    given = [backend.asarray(host[0].astype(dtype)), *map(backend.asarray, host[1:])]
    g = backend.asarray(rng.normal(size=(33, 16)).astype(dtype))
    kernel = backend.kernels["linear"]
    _, saved = kernel.forward(*given, activation=activation)
    alone = kernel.backward(g, saved, anywhere((True,) * 3), *given, activation=activation)
    old = [rng.normal(size=a.shape).astype(np.dtype(a.dtype)) for a in alone]
    targets = [backend.asarray(a, copy=True) for a in old]
    outs = [GradOut(target, accumulate=True) for target in targets]
    found = kernel.backward(g, saved, outs, *given, activation=activation)
    for ours, target, before, share in zip(found, targets, old, alone, strict=True):
        assert ours is target
        expected = before.astype("f8") + backend.to_numpy(share).astype("f8")
        close(backend.to_numpy(ours), expected, dtype)


def losses(where, precision):
    """Of a few steps of a network like a transformer's feed-forward part."""
    with use_backend(where):
        nnlib.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(12, 32), nn.GELU("tanh"), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3)
        )
        optimizer = nnlib.optim.AdamW(model.parameters(), lr=0.01)
        rng = np.random.default_rng(0)
        found = []
        for _ in range(4):
            x = nnlib.tensor(rng.normal(size=(20, 12)).astype("f4"))
            labels = nnlib.tensor(rng.integers(0, 3, 20))
            optimizer.zero_grad()
            with nnlib.autocast(precision):
                loss = F.cross_entropy(model(x), labels)
            loss.backward()
            assert all(p.grad.dtype == "float32" for p in model.parameters())
            optimizer.step()
            found.append(loss.item())
    return found


@pytest.mark.parametrize("precision", LOW)
def test_training_in_mixed_precision(backend, precision):
    expected = losses("numpy", precision)
    with use_backend(backend):
        actual = losses(backend, precision)
    np.testing.assert_allclose(actual, expected, rtol=0.02)
    assert actual[-1] != actual[0]
    if hasattr(backend, "lt"):
        assert "GELU_AUX_BIAS" in {call.epilogue for call in backend.lt.calls}
        assert (LOW[precision], "float32") in {call.dtypes for call in backend.lt.calls}


def test_linear_takes_data_of_16_bits_as_they_are():
    emulated = load_backend("emulated")
    assert emulated.kernels["linear"].half
    assert emulated.primitives["matmul"].half


@pytest.mark.parametrize("precision", LOW)
def test_matmul_in_mixed_precision(precision, emulated):
    rng = np.random.default_rng(0)
    host = [rng.normal(size=shape).astype("f4") for shape in ((2, 5, 9), (9, 4))]
    a, b = (nnlib.tensor(array, requires_grad=True) for array in host)
    with nnlib.autocast(precision):
        y = a @ b
    y.backward(nnlib.ones(*y.shape, dtype=y.dtype))
    assert (y.dtype, a.grad.dtype, b.grad.dtype) == (LOW[precision], "float32", "float32")
    rounded = [array.astype(LOW[precision]).astype("f8") for array in host]
    close(y.numpy(), rounded[0] @ rounded[1], LOW[precision])
    ones = np.ones((2, 5, 4))
    close(a.grad.numpy(), ones @ rounded[1].T, LOW[precision])
    close(b.grad.numpy(), (rounded[0].swapaxes(1, 2) @ ones).sum(axis=0), LOW[precision])


def test_the_two_ways_that_a_gpu_shall_decide_between(backend):
    """The benchmark's rows are what their names say."""
    path = Path(__file__).parents[4] / "benchmarks" / "linear_ways.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    ways = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ways)
    if not hasattr(backend, "lt"):
        pytest.skip("has no epilogues")

    def seconds(where, function):
        assert where is backend
        backend.lt.calls.clear()
        backend.driver.log.clear()
        function()
        return [call.epilogue for call in backend.lt.calls], len(backend.driver.log)

    rows = list(ways.linear_rows(backend, seconds, [(8, 24, 16)], ["bfloat16"]))
    assert [row["flops"] for row in rows] == [2 * 8 * 24 * 16] * 8
    layer = "bfloat16 8x24x16 linear"
    assert {row["name"].removeprefix(f"{layer} "): row["seconds"] for row in rows} == {
        "bias, epilogue": (["BIAS"], 0),
        "bias, passes": (["DEFAULT"], 1),
        "relu, epilogue": (["RELU_BIAS"], 0),
        "relu, passes": (["DEFAULT"], 1),
        "gelu_tanh, epilogue": (["GELU_AUX_BIAS"], 0),
        "gelu_tanh, passes": (["DEFAULT"], 2),
        "dw and db, epilogue": (["BGRADB"], 0),
        "dw and db, passes": (["DEFAULT"], 1),
    }
