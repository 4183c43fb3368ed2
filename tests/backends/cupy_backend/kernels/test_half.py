"""Data of 16 bits: kernels take them beside float32 parameters, and compute in float32.

So a result is the exact one rounded once, and what is not rounded is as exact as in float32.
"""

import ml_dtypes
import numpy as np
import pytest
from emulation import EmulatedBackend
from emulation.arguments import ARGUMENTS, placed
from ops import test_conformance as conformance
from ops.table import tensors

import nnlib
from nnlib import nn, ops
from nnlib.autograd import engine
from nnlib.nn import functional as F
from nnlib.ops.operation import Fused
from nnlib_backends import load_backend, use_backend
from nnlib_backends.base import anywhere
from nnlib_backends.common import philox

LOW = [np.dtype("float16"), np.dtype(ml_dtypes.bfloat16)]
LOSSES = {"softmax_cross_entropy", "sigmoid_cross_entropy"}  # float32
HALF = {name for name, pair in EmulatedBackend().own.items() if pair.half} - {"linear"}
SAMPLES = [s for s in conformance.SAMPLES if s.values[0].name in HALF]
SHAPES = [(7, 1), (3, 32), (7, 33), (2, 1032), (2, 1025), (700, 8)]
low_dtypes = pytest.mark.parametrize("low", LOW, ids=lambda dtype: dtype.name)


def define(operation, arguments, options, g):
    """All gradients by the definition, in float64."""
    inputs = tensors(arguments, load_backend("numpy"), dtype="float64")
    y = operation.compute(inputs, options)
    nodes = [getattr(x, "node", None) for x in inputs]
    found = engine.backward([(y.node, g.astype("f8"))], [node for node in nodes if node])
    return [None if node is None else np.asarray(found[node]) for node in nodes]


def agree(ours, expected, low):
    """At most half a unit in the last place of the dtype, and what float32 costs."""
    expected = np.asarray(expected, "f8")
    half_unit = 0.5 * float(ml_dtypes.finfo(low).eps) if ours.dtype == low else 0
    scale = max(1, np.abs(expected).max(initial=0))
    error = np.abs(ours.astype("f8") - expected)
    least = float(ml_dtypes.finfo(low).smallest_subnormal)
    assert (error <= half_unit * np.abs(expected) + 2e-5 * scale + least).all()


def check(backend, name, arguments, options, low, offset=0):
    operation = Fused.registry[name]
    arguments, options = operation.bind(arguments, options)
    data = low if name != "embedding" else np.dtype("f4")
    dtypes = [data, *[np.dtype("f4")] * (len(arguments) - 1)]
    given = [
        x if x is None or x.dtype.kind != "f" else np.asarray(x, dtype)
        for x, dtype in zip(arguments, dtypes, strict=True)
    ]
    exact = [x if x is None or x.dtype.kind in "iu" else x.astype("f8") for x in given]
    arrays = [None if x is None else placed(backend, x, x.dtype, offset) for x in given]
    y, saved = backend.kernels[name].forward(*arrays, **options)
    expected = operation.compute(exact, options)
    assert (y.shape, y.dtype) == (expected.shape, "float32" if name in LOSSES else data)
    agree(backend.to_numpy(y), expected, low)
    g = conformance.upstream(y.shape).astype(low if name == "embedding" else y.dtype)
    needed = [x is not None and x.dtype.kind not in "iu" for x in given]
    found = backend.kernels[name].backward(
        placed(backend, g, g.dtype, offset), saved, anywhere(needed), *arrays, **options
    )
    for is_needed, array, ours, wanted in zip(
        needed, arrays, found, define(operation, exact, options, g), strict=True
    ):
        if is_needed:
            assert (ours.shape, ours.dtype) == (array.shape, array.dtype)
            agree(backend.to_numpy(ours), wanted, low)


@low_dtypes
@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_kernel_agrees_with_the_definition(operation, case, low, backend):
    for arguments in conformance.variants(operation, case.draw()):
        check(backend, operation.name, arguments, case.options, low)
    if hasattr(backend, "driver"):
        assert low.name in {entry[1] for entry in backend.driver.log}


@low_dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(HALF.intersection(ARGUMENTS)))
def test_ragged_sizes(name, shape, low, backend):
    check(backend, name, ARGUMENTS[name](np.random.default_rng(0), *shape), {}, low)


@low_dtypes
@pytest.mark.parametrize("name", sorted(HALF.intersection(ARGUMENTS)))
def test_arrays_between_boundaries(name, low, backend):
    check(backend, name, ARGUMENTS[name](np.random.default_rng(0), 3, 32), {}, low, offset=1)


@low_dtypes
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "softmax", "log_softmax"])
def test_primitives(name, low, backend):
    x, g = (np.random.default_rng(i).normal(size=(7, 40)).astype(low) for i in range(2))
    operation, kernel = getattr(ops, name), backend.primitives[name]
    y = kernel.forward(backend.asarray(x))
    agree(backend.to_numpy(y), operation(x.astype("f8")), low)
    kept = [-1] if "axis" in operation.rules["x"].keeps else []
    dx = kernel.rules["x"](backend.asarray(g), y, *kept)
    exact = backend.to_numpy(y).astype("f8")
    agree(backend.to_numpy(dx), operation.rules["x"].function(g.astype("f8"), exact, *kept), low)
    assert y.dtype == dx.dtype == low


@low_dtypes
def test_targets_of_16_bits_too(low, backend):
    x, t = (backend.asarray(np.full((3, 9), value).astype(low)) for value in (1.5, 0.25))
    kernel = backend.kernels["sigmoid_cross_entropy"]
    loss, _ = kernel.forward(x, t)
    dx, dt = kernel.backward(
        backend.asarray(np.ones((3, 9), "f4")), None, anywhere((True, True)), x, t
    )
    assert (loss.dtype, dx.dtype, dt.dtype) == ("float32", low, low)
    np.testing.assert_array_equal(backend.to_numpy(dt).astype("f4"), -1.5)


@low_dtypes
@pytest.mark.parametrize("size", [1, 7, 8, 1023])
def test_dropout_takes_the_stream_bit_for_bit(size, low, backend):
    x, key = np.random.default_rng(0).normal(size=size).astype(low), np.array([3, 2**32 - 1])
    y, _ = backend.kernels["dropout"].forward(backend.asarray(x), backend.asarray(key), p=0.3)
    scaled = x.astype("f4") * np.float32(1 / 0.7)
    expected = np.where(philox.kept(np, key, size, 0.3), scaled, np.float32(0)).astype(low)
    np.testing.assert_array_equal(backend.to_numpy(y).view("u2"), expected.view("u2"))


def widened(backend, x):
    """Numbers of 16 bits as kernels read them: a gradient of an embedding that is added to 0."""
    x = x.reshape(1, -1)
    arrays = [np.zeros(x.shape, "f4"), np.zeros(1, "i8")]
    kernel, arrays = backend.kernels["embedding"], [backend.asarray(a) for a in arrays]
    return backend.to_numpy(
        kernel.backward(backend.asarray(x), None, anywhere((True, False)), *arrays)[0]
    )[0]


def narrowed(backend, x, low):
    """Numbers of 32 bits as kernels write them: a gradient times sigmoid(0) + 0.5."""
    arrays = [np.zeros(x.shape, low), np.full(x.shape, -0.5, "f4")]
    kernel, arrays = backend.kernels["sigmoid_cross_entropy"], [backend.asarray(a) for a in arrays]
    return backend.to_numpy(
        kernel.backward(backend.asarray(x), None, anywhere((True, False)), *arrays)[0]
    )


def every(low):
    return np.arange(1 << 16).astype("u2").view(low)


def same(ours, expected):
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
    word = f"u{ours.itemsize}"
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(ours.view(word)[finite], expected.view(word)[finite])


def flushed(backend, x):
    """Without what a GPU takes for zero: float32 below its normal numbers."""
    tiny = np.abs(x.astype("f4")) < np.finfo("f4").tiny
    return x[~tiny] if backend.name.startswith("cupy") else x


@low_dtypes
def test_every_pattern_is_read(low, backend):
    x = flushed(backend, every(low))
    x = x[x.view("u2") != 0x8000]  # −0 + 0 is 0
    same(widened(backend, x), x.astype("f4"))


@low_dtypes
def test_numbers_are_rounded_to_the_nearest_ties_to_even(low, backend):
    with np.errstate(invalid="ignore", over="ignore"):
        ordered = every(low)[:0x8000].astype("f4")
        ordered = ordered[np.isfinite(ordered)]
        ties = np.append((ordered[1:] + ordered[:-1]) / 2, ordered[-1])
        words = np.random.default_rng(0).integers(0, 1 << 32, 20000, dtype="u4").view("f4")
        special = np.array([0, np.inf, np.nan, 65519.996, 65520, 1e-8, 3.4e38], "f4")
        near = [np.nextafter(ties, np.float32(way)) for way in (0, np.inf)]
        x = np.concatenate([special, ordered, ties, *near, words])
        x = flushed(backend, np.concatenate([x, -x]))
        same(narrowed(backend, x, low), x.astype(low))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.out = nn.Embedding(11, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(F.gelu(self.norm(self.embedding(x))).mean(axis=1))


def losses(where, dtype):
    with use_backend(where):
        nnlib.manual_seed(0)
        model, rng = Words(), np.random.default_rng(0)
        optimizer, scaler = nnlib.optim.SGD(model.parameters(), lr=0.5), nnlib.optim.GradScaler()
        found = []
        for _ in range(5):
            x, labels = (nnlib.tensor(rng.integers(0, n, s)) for n, s in ((11, (6, 4)), (3, 6)))
            optimizer.zero_grad()
            with nnlib.autocast(dtype):
                loss = F.cross_entropy(model(x), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            found.append(loss.item())
        return found


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_training_steps_equal_those_of_numpy(dtype, backend):
    expected = losses("numpy", dtype)
    assert losses(backend.name, dtype) == pytest.approx(expected, rel=0.02)
    if hasattr(backend, "driver"):
        name = {"bf16": "bfloat16", "fp16": "float16"}[dtype]
        used = {entry[:2] for entry in backend.driver.log}
        assert {("cross_entropy_backward_warp", name), ("row_norm_backward_warp", name)} <= used
        assert {("gelu_forward", name), ("gelu_backward", name)} <= used
        assert {("unscale", "float32"), ("sgd", "float32")} <= used
