import ml_dtypes
import numpy as np
import pytest
from fake_cublaslt import World

from nnlib_backends.base import GradOut, anywhere
from nnlib_backends.common import fused
from nnlib_backends.cupy_backend.gemm.linear import Linear, make_linear
from nnlib_backends.numpy_backend import namespace

DEFINITION = fused.make_kernels(namespace)["linear"]
ACTIVATIONS = [None, "relu", "tanh", "sigmoid", "gelu_tanh"]
LOW = ["float16", "bfloat16"]


@pytest.fixture(params=["cublaslt", "without"])
def world(request):
    return World(cublaslt=request.param == "cublaslt")


@pytest.fixture
def lt_world():
    return World()


def kernel(world):
    return make_linear(world.products, world.launcher, DEFINITION)


@pytest.fixture(params=[False, True], ids=["columns", "product"])
def sums_in_product(request, monkeypatch):
    monkeypatch.setattr(Linear, "sums_in_product", request.param)
    return request.param


def arrays(*shape, biased=True, dtype="float32", parameters="float32", width=5):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*shape, 7)).astype(dtype)
    weight = rng.standard_normal((width, 7)).astype(parameters)
    bias = rng.standard_normal(width).astype(parameters) if biased else None
    return x, weight, bias


def close(actual, expected, dtype, least=0.0):
    """Agree as far as a dtype can tell, measured by the largest number."""
    actual, expected = (np.asarray(a, np.float64) for a in (actual, expected))
    tolerance = max(4 * float(ml_dtypes.finfo(dtype).eps), least)
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1)
    )


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1,), (0,), (4, 0)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [5, 8])
def test_agrees_with_the_general_kernel(
    world, width, dtype, activation, biased, shape, sums_in_product
):
    given = arrays(*shape, biased=biased, dtype=dtype, parameters=dtype, width=width)
    linear = kernel(world)
    y, saved = linear.forward(*given, activation=activation)
    expected, kept = DEFINITION.forward(*given, activation=activation)
    close(y, expected, dtype)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    needed = (True, True, biased)
    actual = linear.backward(g, saved, anywhere(needed), *given, activation=activation)
    wanted = DEFINITION.backward(g, kept, anywhere(needed), *given, activation=activation)
    for one, other in zip(actual, wanted, strict=True):
        if other is None:
            assert one is None
        else:
            close(one, other, dtype)
            assert one.dtype == dtype


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("width", [5, 8])
def test_data_of_16_bits_beside_float32_parameters(
    world, width, dtype, activation, biased, sums_in_product
):
    """Against the definition of the same numbers in float64."""
    given = arrays(2, 40, biased=biased, dtype=dtype, width=width)
    exact = [None if a is None else a.astype(np.float64) for a in given]
    linear = kernel(world)
    y, saved = linear.forward(*given, activation=activation)
    assert y.dtype == dtype
    close(y, DEFINITION.forward(*exact, activation=activation)[0], dtype)
    # derivatives are at this place
    kept = None if saved[0] is None else saved[0].astype(np.float64)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    needed = (True, True, biased)
    dx, dw, db = linear.backward(g, saved, anywhere(needed), *given, activation=activation)
    wanted = DEFINITION.backward(
        g.astype(np.float64), kept, anywhere(needed), *exact, activation=activation
    )
    assert (dx.dtype, dw.dtype) == (dtype, np.float32)
    close(dx, wanted[0], dtype)
    # with an activation: 16 bits are what its derivative is multiplied in before the product
    close(dw, wanted[1], dtype if activation else "float32")
    if biased:
        assert db.dtype == np.float32
        close(db, wanted[2], dtype if activation else "float32")


def test_what_the_kernel_says_that_it_can(world):
    linear = kernel(world)
    assert (linear.half, linear.writes, linear.accumulates) == (True, True, True)


@pytest.mark.parametrize("dtype", LOW)
def test_a_weight_is_rounded_once_for_both_passes(lt_world, dtype):
    x, weight, bias = arrays(6, dtype=dtype)
    linear = kernel(lt_world)
    y, saved = linear.forward(x, weight, bias)
    assert [array.dtype for array in saved if array is not None] == [dtype]
    linear.backward(np.ones_like(y), saved, anywhere((True, True, True)), x, weight, bias)
    assert [call.dtypes for call in lt_world.lt.calls] == [
        (dtype, dtype), (dtype, "float32"), (dtype, dtype),
    ]  # fmt: skip


def test_a_float32_weight_is_not_saved(lt_world):
    assert kernel(lt_world).forward(*arrays(6))[1] == (None, None)


def test_bias_and_relu_are_part_of_the_product(lt_world):
    x, weight, bias = arrays(6)
    for activation in (None, "relu", "tanh", "sigmoid"):
        kernel(lt_world).forward(x, weight, bias, activation=activation)
    epilogues = [call.epilogue for call in lt_world.lt.calls]
    assert epilogues == ["BIAS", "RELU_BIAS", "DEFAULT", "DEFAULT"]
    assert [name for name, _ in lt_world.driver.log] == ["bias_activation"] * 2
    assert lt_world.copies == 0
    kernel(lt_world).forward(x, weight, None)
    kernel(lt_world).forward(x, weight, None, activation="relu")
    assert [call.epilogue for call in lt_world.lt.calls[4:]] == ["DEFAULT", "RELU"]


@pytest.mark.parametrize("dtype", ["float32", *LOW])
def test_bias_and_gelu_are_part_of_the_product(lt_world, dtype):
    """And its derivative and the gradient of the bias are one pass."""
    given = arrays(40, dtype=dtype, width=8)
    linear = kernel(lt_world)
    y, saved = linear.forward(*given, activation="gelu_tanh")
    assert [call.epilogue for call in lt_world.lt.calls] == ["GELU_AUX_BIAS"]
    assert lt_world.driver.log == []
    linear.backward(y, saved, anywhere((True, True, True)), *given, activation="gelu_tanh")
    kernels = [name for name, _ in lt_world.driver.log]
    assert kernels == ["bias_gradient"]
    assert len(lt_world.lt.calls) == 3


@pytest.mark.parametrize("refuse", ["GELU_AUX_BIAS", ""])
def test_gelu_without_the_epilogue(lt_world, refuse):
    lt_world.lt.refuse = refuse
    for width in (8, 5):  # 5 is no width for what GELU is computed of
        given = arrays(6, width=width)
        lt_world.driver.log.clear()
        y, _ = kernel(lt_world).forward(*given, activation="gelu_tanh")
        close(y, DEFINITION.forward(*given, activation="gelu_tanh")[0], "float32")
        steps = ["bias_activation", "gelu_tanh_forward"] if refuse or width == 5 else []
        assert [name for name, _ in lt_world.driver.log] == steps


def test_a_gpu_without_the_epilogue_does_it_in_a_pass(lt_world):
    lt_world.lt.refuse = "RELU_BIAS"
    given = arrays(6)
    y, _ = kernel(lt_world).forward(*given, activation="relu")
    close(y, DEFINITION.forward(*given, activation="relu")[0], "float32")
    assert [call.epilogue for call in lt_world.lt.calls] == ["DEFAULT"]
    assert [name for name, _ in lt_world.driver.log] == ["bias_activation"]


def test_nan_goes_through_relu(world):
    world.lt.refuse = "RELU_BIAS"
    x, weight, bias = arrays(6)
    x[1, 2] = np.nan
    y, _ = kernel(world).forward(x, weight, bias, activation="relu")
    assert np.isnan(y[1]).all()
    assert not np.isnan(y[0]).any()


@pytest.mark.parametrize("rows", [6, 5000])  # one chunk of rows, and many
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("dtype", ["float32", *LOW])
def test_gradients_are_left_where_they_shall_lie(
    lt_world, dtype, activation, rows, sums_in_product
):
    x, weight, bias = arrays(rows, dtype=dtype)
    linear = kernel(lt_world)
    y, saved = linear.forward(x, weight, bias, activation=activation)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    flat = np.full(5 * 7 + 3 + 5, np.nan, np.float32)
    homes = flat[:35].reshape(5, 7), flat[38:]
    place = np.empty_like(x)
    outs = [GradOut(place), *map(GradOut, homes)]
    dx, dw, db = linear.backward(g, saved, outs, x, weight, bias, activation=activation)
    assert (dx is place, dw is homes[0], db is homes[1]) == (True,) * 3
    kept = None if activation is None else y.astype(np.float64)
    expected = DEFINITION.backward(
        *(g.astype(np.float64), kept, anywhere((True,) * 3)),
        *(a.astype(np.float64) for a in (x, weight, bias)), activation=activation,
    )  # fmt: skip
    for one, other in zip((dx, dw, db), expected, strict=True):
        close(one, other, dtype, least=1e-5)
    assert np.isnan(flat[35:38]).all()
    assert lt_world.copies == 0
    assert lt_world.lt.calls[-2].dtypes == (dtype, "float32")


def test_nothing_is_computed_that_nobody_needs(lt_world):
    x, weight, bias = arrays(6)
    linear = kernel(lt_world)
    y, saved = linear.forward(x, weight, bias)
    before = len(lt_world.lt.calls)
    assert linear.backward(y, saved, anywhere((False,) * 3), x, weight, bias) == (None,) * 3
    assert len(lt_world.lt.calls) == before
    assert lt_world.driver.log == []
    dx, dw, db = linear.backward(y, saved, anywhere((True, False, False)), x, weight, bias)
    assert (dx is not None, dw, db) == (True, None, None)
    assert len(lt_world.lt.calls) == before + 1


def test_where_the_gradient_of_a_bias_comes_from(lt_world, sums_in_product):
    given = arrays(6)
    linear = kernel(lt_world)
    for activation in (None, "relu"):
        y, saved = linear.forward(*given, activation=activation)
        lt_world.lt.calls.clear()
        lt_world.driver.log.clear()
        linear.backward(y, saved, anywhere((False, True, True)), *given, activation=activation)
        in_product = sums_in_product and activation is None
        assert [c.epilogue for c in lt_world.lt.calls] == ["BGRADB" if in_product else "DEFAULT"]
        assert len(lt_world.driver.log) == (0 if in_product else 1)
    lt_world.lt.refuse = "BGRADB"
    wider = np.ones((9, 7), np.float32), *given[1:]
    dw_db = linear.backward(
        np.ones((9, 5), np.float32), (None, None), anywhere((False, True, True)), *wider
    )[1:]
    np.testing.assert_allclose(dw_db[0], 9)
    np.testing.assert_allclose(dw_db[1], 9)


def test_a_gradient_that_repeats_one_number(lt_world, sums_in_product):
    """The gradient of a sum is a broadcast view."""
    x, weight, bias = arrays(6)
    g = np.broadcast_to(np.float32(2), (6, 5))
    grads = kernel(lt_world).backward(g, (None, None), anywhere((True,) * 3), x, weight, bias)
    expected = DEFINITION.backward(g, None, anywhere((True,) * 3), x, weight, bias)
    for one, other in zip(grads, expected, strict=True):
        close(one, other, "float32")


def test_other_mixtures_of_dtypes(world):
    x, weight, bias = arrays(6)
    for given in (
        (x.astype(np.float64), weight, bias),
        (x, weight, bias.astype(np.float64)),
        (x.astype(np.float16), weight.astype(np.float16), bias),
    ):
        y, _ = kernel(world).forward(*given, activation="relu")
        expected, _ = DEFINITION.forward(*given, activation="relu")
        close(y, expected, y.dtype)
        assert y.dtype == expected.dtype
