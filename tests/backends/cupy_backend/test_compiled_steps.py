"""Graphs and products on a real GPU: run with ``pytest -m gpu``.

The compiled functions of tests/jit run there, too.
"""

import gc

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib_backends import load_backend

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    backend = load_backend("cupy")
    if backend.tracer() is None:
        pytest.skip("nvmath-python or cuBLASLt is missing: steps are not recorded")
    with nnlib.use_backend(backend):
        yield backend


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
def test_products(cupy, dtype, transposed, batch):
    a, b = normal(*batch, 33, 65, dtype=dtype), normal(*batch, 65, 17, dtype=dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    left, right = cupy.asarray(a), cupy.asarray(b)
    if transposed[0]:
        left = cupy.xp.ascontiguousarray(left.swapaxes(-1, -2)).swapaxes(-1, -2)
    if transposed[1]:
        right = cupy.xp.ascontiguousarray(right.swapaxes(-1, -2)).swapaxes(-1, -2)
    result = cupy.to_numpy(cupy.products.product(left, right))
    tf32 = cupy.device_info().details["float32_precision"] == "TF32"
    tolerance = {"float64": 1e-12, "float32": 5e-3 if tf32 else 1e-5, "float16": 1e-2}[dtype]
    assert np.abs(result - expected).max() <= tolerance * np.abs(expected).max()


def test_nan_goes_through_relu(cupy):
    """A fused ReLU must not hide that a training has failed."""
    x, weight, bias = normal(4, 8), normal(6, 8), np.zeros(6, np.float32)
    x[1, 2] = np.nan
    y, _ = cupy.kernels["linear"].forward(*map(cupy.asarray, (x, weight, bias)), activation="relu")
    assert np.isnan(cupy.to_numpy(y)[1]).all()


def test_accumulation(cupy):
    a, b, out = normal(8, 16), normal(16, 4), normal(8, 4)
    target = cupy.asarray(out)
    cupy.products.product(cupy.asarray(a), cupy.asarray(b), target, accumulate=True)
    np.testing.assert_allclose(cupy.to_numpy(target), out + a @ b, rtol=1e-2, atol=1e-2)


def steps(compiled, count, size=32):
    nnlib.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 5))
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = nnlib.compile(step) if compiled else step
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(count):  # arrays of the host, which a graph gets through pinned memory
        x = rng.standard_normal((size, 20)).astype(np.float32)
        y = rng.integers(0, 5, size)
        losses.append(run(x, y) if compiled else run(nnlib.tensor(x), nnlib.tensor(y)))
    return run, [loss.item() for loss in losses], [p.numpy() for p in model.parameters()]


def test_a_thousand_replays_are_a_thousand_steps(cupy):
    _, losses, weights = steps(True, 1000)
    _, expected, wanted = steps(False, 1000)
    np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=1e-5)
    for one, other in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


def test_clear_gives_the_memory_back(cupy):
    run, _, _ = steps(True, 5, size=4096)
    gc.collect()
    before = cupy.memory_info()
    own = run.memory_bytes
    assert own > 0
    run.clear()
    gc.collect()
    assert cupy.memory_info().used <= before.used - own // 2


def test_several_graphs_take_turns(cupy):
    double = nnlib.compile(lambda x: x + x)
    square = nnlib.compile(lambda x: x * x)
    for i in range(6):
        x = nnlib.full(1000, float(i))
        assert double(x).tolist()[:2] == [2.0 * i] * 2
        assert square(x).tolist()[:2] == [float(i * i)] * 2


def test_a_read_is_refused_and_the_device_is_usable_after_it(cupy):
    from nnlib.errors import CaptureError

    layer = nn.Linear(3, 1)

    @nnlib.compile
    def step(x):
        layer(x).sum().backward()
        return optim.clip_grad_norm_(layer.parameters(), 1.0, error_if_nonfinite=True)

    x = nnlib.ones(4, 3)
    for _ in range(2):
        layer.weight.grad = layer.bias.grad = None
        step(x)
    layer.weight.grad = layer.bias.grad = None
    with pytest.raises(CaptureError, match="test_compiled_steps"):
        step(x)
    test_several_graphs_take_turns(cupy)


def test_a_profile_times_each_piece(cupy):
    run, _, _ = steps(True, 5)
    rows = run.profile(3)
    assert any(name == "linear" for name, *_ in rows)
    assert all(seconds > 0 for *_, seconds in rows)
