"""Every kernel against its operation's definition in float64, where sizes are awkward.

Emulated, each launch is watched: memory is poisoned before, arrays stand between guard zones, and
threads run in two orders, which must give the same bits (see tests/doubles/emulation/driver.py).
"""

import numpy as np
import pytest
from emulation.arguments import ARGUMENTS, OPTIONS, placed, uniform, weights
from ops import test_conformance as conformance

from nnlib.ops.operation import Fused
from nnlib_backends import load_backend
from nnlib_backends.base import anywhere
from nnlib_backends.common import philox
from nnlib_backends.cupy_backend.kernels.sorting import sort_indices

SHAPES = [(7, 1), (7, 31), (1, 33), (64, 33), (7, 32), (7, 1023), (1, 1025), (7, 1025)]


def both(backend, name, arguments, options, dtype="float32", offset=0):
    """Result and gradients of a backend's kernel, and those by the definition."""
    operation = Fused.registry[name]
    arguments, options = operation.bind(arguments, options)
    expected = conformance.define(operation, arguments, options, load_backend("numpy"))
    arrays = [placed(backend, x, dtype, offset) for x in arguments]
    kernel = backend.kernels[name]
    y, saved = kernel.forward(*arrays, **options)
    g = placed(backend, conformance.upstream(y.shape), dtype, offset)
    needed = [x is not None and x.dtype.kind == "f" for x in arguments]
    gradients = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    to = backend.to_numpy
    return (to(y), [None if x is None else to(x) for x in gradients]), expected


def agree(ours, expected, dtype="float32"):
    (y, gradients), (value, wanted) = ours, expected
    assert y.dtype == dtype
    conformance.agree(y, value, dtype)
    for gradient, one in zip(gradients, wanted, strict=True):
        if one is not None:
            assert gradient.dtype == dtype
            conformance.agree(gradient, one, dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_ragged_sizes(name, shape, backend):
    arguments = ARGUMENTS[name](np.random.default_rng(0), *shape)
    agree(*both(backend, name, arguments, OPTIONS.get(name, {})))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arrays_between_boundaries(name, backend):
    """Where 16 bytes cannot be read at once, numbers are read one by one."""
    arguments = ARGUMENTS[name](np.random.default_rng(0), 3, 32)
    agree(*both(backend, name, arguments, OPTIONS.get(name, {}), offset=1))


WITH_PARAMETERS = ["layer_norm", "rms_norm", "batch_norm", "embedding", "linear"]


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_parameters_of_16_bits_are_left_to_the_general_kernel(name, emulated):
    arguments = ARGUMENTS[name](np.random.default_rng(0), 3, 8)
    (y, _), (value, _) = both(emulated, name, arguments, OPTIONS.get(name, {}), dtype="float16")
    np.testing.assert_allclose(y, value, rtol=0.02, atol=0.02)
    assert not emulated.driver.log


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_empty_arrays_are_left_to_the_general_kernel(name, emulated):
    arguments = ARGUMENTS[name](np.random.default_rng(0), 3, 8)
    arguments = [x[:0] if x.shape[:1] == (3,) else x for x in arguments]
    if name == "gelu":  # the general kernel is for the form by tanh: the definition computes
        arrays = [placed(emulated, x, "float32", 0) for x in arguments]
        assert emulated.kernels[name].forward(*arrays, approximate="none") is NotImplemented
        return
    (y, _), _ = both(emulated, name, arguments, OPTIONS.get(name, {}))
    assert 0 in y.shape or name == "batch_norm"
    assert not emulated.driver.log


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["gelu", "silu", "linear", "layer_norm", "rms_norm", "batch_norm",
                                  "softmax_cross_entropy", "sigmoid_cross_entropy"])  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_is_not_lost(name, value, backend):
    arguments = ARGUMENTS[name](np.random.default_rng(0), 7, 33)
    arguments[0][3, 2] = value
    options = {"activation": "relu"} if name == "linear" else {}
    (y, gradients), (wanted, derived) = both(backend, name, arguments, options)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    for ours, expected in zip(gradients, derived, strict=True):
        if expected is not None:
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("shape", [(3, 5), (300, 8), (2, 260)], ids=str)
def test_bias_and_activation(activation, shape, backend):
    arguments = ARGUMENTS["linear"](np.random.default_rng(0), *shape)
    agree(*both(backend, "linear", arguments, {"activation": activation}))


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_activations_are_primitives(name, backend):
    from nnlib import ops

    x = np.random.default_rng(0).normal(size=(7, 33)).astype("float32")
    kernel = backend.primitives[name]
    y = kernel.forward(backend.asarray(x))
    reference = getattr(ops, name)(x.astype("float64"))
    np.testing.assert_allclose(backend.to_numpy(y), reference, atol=1e-6)
    slope = {"relu": reference > 0, "tanh": 1 - reference**2, "sigmoid": reference - reference**2}
    dx = kernel.rules["x"](backend.asarray(2 * x), y)
    np.testing.assert_allclose(backend.to_numpy(dx), 2 * x * slope[name], atol=1e-6)
    assert kernel.forward(1.5) is NotImplemented
    assert kernel.rules["x"](backend.asarray(x.astype("float64")), y) is NotImplemented


class TestCrossEntropy:
    def test_keeps_two_numbers_a_row(self, backend):
        arrays = [backend.asarray(np.zeros((7, 33), "float32")), backend.asarray(np.arange(7))]
        _, saved = backend.kernels["softmax_cross_entropy"].forward(*arrays)
        assert [x.shape for x in saved] == [(7,), (7,)]

    @pytest.mark.parametrize("columns", [9, 1030])
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_extreme_logits(self, columns, backend):
        logits = np.random.default_rng(0).normal(size=(4, columns))
        logits[0, :5] = 1e6
        logits[1, ::2] = -np.inf
        logits[2] -= 1e8
        agree(*both(backend, "softmax_cross_entropy", [logits.astype("f4"), np.array([1, 3, 0, 8])],
                    {}))  # fmt: skip

    def test_label_that_does_not_exist_gives_nan(self, backend):
        arrays = [backend.asarray(np.zeros((3, 5), "float32")), backend.asarray([5, 0, -1])]
        loss, _ = backend.kernels["softmax_cross_entropy"].forward(*arrays)
        assert np.isnan(backend.to_numpy(loss)).tolist() == [True, False, True]

    def test_labels_of_other_integers(self, backend):
        arrays = [np.eye(3, dtype="float32"), np.array([0, 1, 2], "uint8")]
        loss, _ = backend.kernels["softmax_cross_entropy"].forward(*map(backend.asarray, arrays))
        np.testing.assert_allclose(backend.to_numpy(loss), np.log(2 + np.e) - 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
def test_a_large_mean_costs_few_digits(name, backend):
    shape = (6, 1100) if name == "layer_norm" else (1100, 6)
    x = np.random.default_rng(0).normal(size=shape) + 3000
    (y, _), (expected, _) = both(backend, name, [x.astype("f4")], {})
    assert np.abs(y - expected).max() < 2e-3  # x itself is known to 1e-4


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("size", [1, 3, 1023, 2048])
@pytest.mark.parametrize("key", [(0, 0), (2**63 - 5, 2**32 - 3), (-7, 2**40)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_takes_the_stream_bit_for_bit(p, size, key, dtype, backend):
    x = np.random.default_rng(0).normal(size=size).astype(dtype)
    keep = philox.kept(np, np.array(key), size, p)
    factor = keep.astype(dtype) * np.dtype(dtype).type(1 / (1 - p) if p < 1 else 0)
    kernel, arrays = backend.kernels["dropout"], [backend.asarray(x), backend.asarray(key)]
    y, saved = kernel.forward(*arrays, p=p)
    assert saved is None
    np.testing.assert_array_equal(backend.to_numpy(y), x * factor)
    dx, _ = kernel.backward(backend.asarray(2 * x), None, anywhere((True, False)), *arrays, p=p)
    np.testing.assert_array_equal(backend.to_numpy(dx), 2 * x * factor)


@pytest.mark.parametrize("options", [
    {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)},
    {"size": (3, 3), "stride": (1, 1), "padding": (1, 1)},
    {"size": (3, 2), "stride": (2, 3), "padding": (2, 1)},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 4, 33])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pooling(name, channels, options, backend):
    x = np.random.default_rng(0).integers(-3, 4, (2, 7, 6, channels)).astype(float)  # with ties
    if options["padding"] != (0, 0):
        x -= 10  # zeros around must not win
    agree(*both(backend, name, [x], options))


def test_a_large_pooling_window_is_left_to_the_general_kernel(emulated):
    x = np.random.default_rng(0).normal(size=(1, 20, 20, 1))
    options = {"size": (17, 17), "stride": (1, 1), "padding": (0, 0)}
    agree(*both(emulated, "max_pool2d", [x], options))
    assert not emulated.driver.log


def test_pooling_hands_the_gradient_to_nan(backend):
    x = np.ones((1, 2, 2, 1), "float32")
    x[0, 1, 0, 0] = np.nan
    kernel, options = backend.kernels["max_pool2d"], {"size": (2, 2), "stride": (2, 2)}
    options["padding"] = (0, 0)
    x = backend.asarray(x)
    y, saved = kernel.forward(x, **options)
    assert np.isnan(backend.to_numpy(y)).all()
    g = backend.asarray(np.ones((1, 1, 1, 1), "f4"))
    (dx,) = kernel.backward(g, saved, anywhere((True,)), x, **options)
    assert backend.to_numpy(dx).ravel().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("columns", [3, 32, 200])
def test_embedding_gradient_of_long_and_short_runs(columns, backend):
    rng = np.random.default_rng(0)
    indices = np.concatenate([np.full(300, 2), [0, 5, 5], np.full(40, 7)])
    agree(*both(backend, "embedding", [uniform(rng, 9, columns), rng.permutation(indices)], {}))


def test_embedding_indices_that_do_not_exist_are_passed_over(backend):
    weight = backend.asarray(np.ones((300, 4), "f4"))
    indices = backend.asarray(np.array([7, -1, 7, 300, 7 + 512, 299]))
    g = backend.asarray(np.arange(24, dtype="f4").reshape(6, 4))
    d, _ = backend.kernels["embedding"].backward(g, None, anywhere((True, False)), weight, indices)
    d = backend.to_numpy(d)
    np.testing.assert_array_equal(d[7], [8, 10, 12, 14])
    np.testing.assert_array_equal(d[299], [20, 21, 22, 23])
    assert d.sum() == 44 + 86


@pytest.mark.parametrize("entries", [1, 5, 255, 256, 70000])
@pytest.mark.parametrize("n", [1, 255, 257, 1000])
def test_sorting_is_stable(n, entries, emulated):
    indices = np.random.default_rng(0).integers(0, entries, n)
    given = emulated.asarray(indices)
    ordered, order = sort_indices(emulated.launcher, given, entries)
    expected = indices.argsort(kind="stable")
    np.testing.assert_array_equal(emulated.to_numpy(order), expected)
    np.testing.assert_array_equal(emulated.to_numpy(ordered), indices[expected])


def test_sorting_of_many_needs_few_blocks(emulated):
    indices = np.random.default_rng(0).integers(0, 9, 256 * 256 + 700)  # two tiles in a chunk
    _, order = sort_indices(emulated.launcher, emulated.asarray(indices), 9)
    np.testing.assert_array_equal(emulated.to_numpy(order), indices.argsort(kind="stable"))
    assert max(grid for _, _, grid in emulated.driver.log) == (130, 1)


@pytest.mark.parametrize("width", [3, 8])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("some", [False, True], ids=["all steps", "lengths"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_recurrent(name, some, reverse, width, backend):
    rng = np.random.default_rng(0)
    rows = {"lstm": 4, "gru": 3, "rnn": 1}[name] * width
    states = [uniform(rng, 3, width) for _ in range(2 if name == "lstm" else 1)]
    lengths = [np.array([4, 1, 2])] if some else []
    arguments = [uniform(rng, 3, 4, 2), uniform(rng, rows, 2), uniform(rng, rows, width),
                 *weights(rng, 2, rows), *states, *lengths]  # fmt: skip
    agree(*both(backend, name, arguments, {"reverse": reverse}))
    if hasattr(backend, "driver"):
        assert [entry[0] for entry in backend.driver.log].count(f"{name}_backward") == 4
