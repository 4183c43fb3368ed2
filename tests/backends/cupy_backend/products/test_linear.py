import numpy as np
import pytest
from fake_cublaslt import World

from nnlib_backends import portable
from nnlib_backends.cupy_backend.products.linear import make_linear
from nnlib_backends.numpy_backend import namespace

DEFINITION = portable.make_kernels(namespace)["linear"]
ACTIVATIONS = [None, "relu", "tanh", "sigmoid"]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def linear(world):
    return make_linear(world.products, namespace)


def arrays(*shape, biased=True, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*shape, 7)).astype(dtype)
    weight = rng.standard_normal((5, 7)).astype(dtype)
    bias = rng.standard_normal(5).astype(dtype) if biased else None
    return x, weight, bias


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1,), (0,), (4, 0)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agrees_with_the_general_kernel(linear, activation, biased, shape):
    given = arrays(*shape, biased=biased)
    y, saved = linear.forward(*given, activation=activation)
    expected, kept = DEFINITION.forward(*given, activation=activation)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    needs = (True, True, biased)
    actual = linear.backward(g, saved, needs, *given, activation=activation)
    wanted = DEFINITION.backward(g, kept, needs, *given, activation=activation)
    for one, other in zip(actual, wanted, strict=True):
        if other is None:
            assert one is None
        else:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_bias_and_relu_are_part_of_the_product(world, linear):
    x, weight, bias = arrays(6)
    for activation in ACTIVATIONS:
        linear.forward(x, weight, bias, activation=activation)
    assert [call.epilogue for call in world.lt.calls] == ["BIAS", "RELU_BIAS", "BIAS", "BIAS"]
    assert world.copies == 0


def test_gradients_are_left_where_they_shall_lie(world, linear):
    x, weight, bias = arrays(6)
    y, saved = linear.forward(x, weight, bias)
    g = np.ones_like(y)
    flat = np.full(5 * 7 + 3 + 5, np.nan, np.float32)
    homes = flat[:35].reshape(5, 7), flat[38:]
    expected = DEFINITION.backward(g, None, (True,) * 3, x, weight, bias)
    place = np.empty_like(x)
    dx, dw, db = linear.backward(g, saved, (place, *homes), x, weight, bias)
    assert (dx is place, dw is homes[0], db is homes[1]) == (True,) * 3
    for one, other in zip((dx, dw, db), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert np.isnan(flat[35:38]).all()
    assert world.copies == 0
    before = len(world.lt.calls)
    assert linear.backward(g, saved, (False,) * 3, x, weight, bias) == (None,) * 3
    assert len(world.lt.calls) == before


def test_mixed_dtypes(linear):
    x, weight, bias = arrays(6)
    for given in ((x.astype(np.float64), weight, bias), (x, weight, bias.astype(np.float64))):
        y, _ = linear.forward(*given, activation="relu")
        expected, _ = DEFINITION.forward(*given, activation="relu")
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        assert y.dtype == np.float64
