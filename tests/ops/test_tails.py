"""Functions of single numbers over their whole range: exact in the tails as in the middle."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import special

import nnlib
from nnlib import ops
from nnlib_backends import load_backend
from nnlib_backends.numpy_backend import kernel_choice

WIDE = {"float32": np.float64, "float64": np.longdouble}
HOWS = ["compiled", "general", "definition"]


def anywhere(x):
    return np.ones_like(x)


def exponent_of_gelu(x):
    """By approximation, gelu has a cubic exponent in the lower tail, which is rounded itself."""
    x = np.clip(x, -40, 0)
    return 1 + np.abs(1.6 * x * (1 + 0.044715 * x * x))


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x):
    scale, alpha = (
        np.longdouble(c).astype(x.dtype)
        for c in ("1.0507009873554804934193", "1.6732632423543772848170")
    )
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x):
    root = np.sqrt(2 / (4 * np.arctan(x.dtype.type(1))))
    return x * sigmoid(2 * root * (x + x.dtype.type("0.044715") * x**3))


@dataclass(frozen=True)
class Row:
    """A function, what is right, and the error allowed in units of the last place.

    ``worse`` says by what factor the error may be larger somewhere; ``product`` that a factor may
    have no more digits left when the result has: x · sigmoid(x) at −100.
    """

    function: Callable[..., Any]
    reference: Callable[..., Any]
    ulp: float = 4.0
    worse: Callable[..., Any] = anywhere
    product: bool = False


ROWS = {
    "exp": Row(ops.exp, np.exp),
    "expm1": Row(ops.expm1, np.expm1),
    "log": Row(ops.log, np.log),
    "log1p": Row(ops.log1p, np.log1p),
    "sqrt": Row(ops.sqrt, np.sqrt),
    "rsqrt": Row(lambda x: x**-0.5, lambda x: 1 / np.sqrt(x)),
    "cube": Row(lambda x: x**3, lambda x: x * x * x),
    "tanh": Row(ops.tanh, np.tanh),
    "sinh": Row(ops.sinh, np.sinh),
    "cosh": Row(ops.cosh, np.cosh),
    "sigmoid": Row(ops.sigmoid, sigmoid),
    "softplus": Row(ops.softplus, softplus),
    "log_sigmoid": Row(ops.log_sigmoid, lambda x: -softplus(-x)),
    "silu": Row(ops.silu, lambda x: x * sigmoid(x), product=True),
    "mish": Row(ops.mish, lambda x: x * np.tanh(softplus(x)), 6.0, product=True),
    "elu": Row(ops.elu, elu),
    "selu": Row(ops.selu, selu),
    "softsign": Row(ops.softsign, lambda x: x / (1 + np.abs(x))),
    "gelu_tanh": Row(
        lambda x: ops.gelu(x, approximate="tanh"), gelu_tanh, 4.0, exponent_of_gelu, True
    ),
    "erf": Row(ops.erf, special.erf),
    "ndtr": Row(ops.ndtr, special.ndtr),
    "gelu": Row(ops.gelu, lambda x: x * special.ndtr(x), product=True),
}
ONLY_FLOAT64 = {"erf", "ndtr", "gelu"}  # SciPy's references

# Φ, by mpmath
NORMAL = [
    (-37.0, 5.72557122252457682e-300),
    (-30.0, 4.90671392714818706e-198),
    (-20.5, 1.07646732587909603e-93),
    (-12.0, 1.776482112077679e-33),
    (-6.75, 7.39225777801782242e-12),
    (-3.0, 0.00134989803163009453),
    (-1.25, 0.105649773666855258),
    (-1.0, 0.158655253931457051),
    (-0.5, 0.308537538725986896),
    (0.25, 0.598706325682923724),
    (1.0, 0.841344746068542949),
    (2.75, 0.997020236764945443),
    (5.0, 0.999999713348428121),
    (9.0, 1.0),
]


@pytest.fixture(params=HOWS)
def how(request, monkeypatch):
    """The backend with compiled kernels, with those in terms of NumPy, and with none at all."""
    backend = load_backend("numpy")
    if request.param != "compiled":
        general = kernel_choice.general_kernels() if request.param == "general" else {}
        monkeypatch.setattr(backend, "kernels", general)
        monkeypatch.setattr(backend, "primitives", {})
    return request.param


def points(dtype):
    info = np.finfo(dtype)
    end = 1.2 * np.log(float(info.max))
    sizes = np.geomspace(float(info.smallest_subnormal), float(info.max) / 4, 4001)
    return np.concatenate(
        [np.linspace(-end, end, 20_001), np.linspace(-6, 6, 8001), sizes, -sizes]
    ).astype(dtype)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("name", ROWS)
def test_value(name, dtype, how):
    if dtype == "float64" and (name in ONLY_FLOAT64 or np.finfo(np.longdouble).eps > 1e-18):
        pytest.skip("there is no reference with more digits")
    row, x = ROWS[name], points(dtype)
    with np.errstate(all="ignore"):
        expected = row.reference(x.astype(WIDE[dtype]))
        y = row.function(nnlib.tensor(x)).numpy()
        nearest = expected.astype(dtype)
        finite = np.isfinite(nearest)
        np.testing.assert_array_equal(y[~finite], nearest[~finite])
        allowed = row.ulp * row.worse(x.astype(np.float64)) * np.spacing(np.abs(nearest))
        if row.product:
            allowed += np.abs(x) * np.finfo(dtype).smallest_subnormal
        error = np.abs(y - expected)
    wrong = finite & ~(error <= allowed)
    assert y.dtype == dtype
    assert not wrong.any(), (x[wrong][:5], y[wrong][:5], nearest[wrong][:5])


@pytest.mark.parametrize(("x", "expected"), NORMAL)
def test_normal_distribution_in_float64(x, expected, how):
    x = nnlib.tensor(np.array([x]))
    np.testing.assert_allclose(ops.ndtr(x).numpy(), expected, rtol=1e-15, atol=0)
    np.testing.assert_allclose(ops.gelu(x).numpy(), x.numpy() * expected, rtol=1e-15, atol=0)


INFINITY, NAN = np.inf, np.nan
#: Name: slope at −∞, far left, far right, ∞; values there.
ENDS = {
    "tanh": ((0, 0, 0, 0), (-1, -1, 1, 1)),
    "sigmoid": ((0, 0, 0, 0), (0, 0, 1, 1)),
    "softplus": ((0, 0, 1, 1), (0, 0, 1e30, INFINITY)),
    "log_sigmoid": ((1, 1, 0, 0), (-INFINITY, -1e30, 0, 0)),
    "silu": ((0, 0, 1, 1), (0, 0, 1e30, INFINITY)),
    "mish": ((0, 0, 1, 1), (0, 0, 1e30, INFINITY)),
    "gelu": ((0, 0, 1, 1), (0, 0, 1e30, INFINITY)),
    "gelu_tanh": ((0, 0, 1, 1), (0, 0, 1e30, INFINITY)),
    "elu": ((0, 0, 1, 1), (-1, -1, 1e30, INFINITY)),
    "softsign": ((0, 0, 0, 0), (-1, -1, 1, 1)),
    "erf": ((0, 0, 0, 0), (-1, -1, 1, 1)),
    "ndtr": ((0, 0, 0, 0), (0, 0, 1, 1)),
}


def slope_of_product(z, x, dz):
    """The derivative of x · sigmoid(z), for z' = dz."""
    return sigmoid(z) + x * sigmoid(z) * sigmoid(-z) * dz


def slope_of_gelu_tanh(x):
    root = np.sqrt(2 / (4 * np.arctan(x.dtype.type(1))))
    c = x.dtype.type("0.044715")
    return slope_of_product(2 * root * (x + c * x**3), x, 2 * root * (1 + 3 * c * x * x))


DERIVATIVES = {"silu": lambda x: slope_of_product(x, x, 1), "gelu_tanh": slope_of_gelu_tanh}


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_slope_where_the_factor_of_x_is_almost_1(name, dtype, general, monkeypatch):
    """1 − sigmoid, which is multiplied by x there, is not taken from the rounded sigmoid."""
    if general:
        monkeypatch.setattr(load_backend("numpy"), "kernels", kernel_choice.general_kernels())
    if dtype == "float64" and np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("there is no reference with more digits")
    x = nnlib.tensor(np.linspace(-12, 12, 20_001).astype(dtype), requires_grad=True)
    ROWS[name].function(x).sum().backward()
    expected = DERIVATIVES[name](x.detach().numpy().astype(WIDE[dtype]))
    error = np.abs(x.grad.numpy() - expected)
    assert error.max() <= 3 * np.finfo(dtype).eps


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of squares and infinities
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("name", ENDS)
def test_ends(name, dtype, how):
    slopes, values = ENDS[name]
    x = nnlib.tensor(np.array([-INFINITY, -1e30, 1e30, INFINITY], dtype), requires_grad=True)
    y = ROWS[name].function(x)
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), np.array(values, dtype))
    np.testing.assert_allclose(x.grad.numpy(), slopes, atol=1e-30)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("name", ROWS)
def test_not_a_number_and_zeros(name, dtype, how):
    x = nnlib.tensor(np.array([NAN, 0.0, -0.0], dtype), requires_grad=True)
    with np.errstate(all="ignore"):
        y = ROWS[name].function(x)
        y.sum().backward()
    values, slopes = y.detach().numpy(), x.grad.numpy()
    assert np.isnan(values[0])
    assert np.isnan(slopes[0])
    if values[1] == 0:
        assert np.signbit(values[1:]).tolist() == [False, True]
    assert slopes[1] == slopes[2] or name in ("log", "sqrt")


SLOPES = {
    "tanh": lambda x: 1 / np.cosh(x) ** 2,
    "sigmoid": lambda x: sigmoid(x) * sigmoid(-x),
    "softplus": sigmoid,
    "log_sigmoid": lambda x: sigmoid(-x),
    "silu": lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    "gelu": lambda x: special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    "elu": lambda x: np.exp(np.minimum(x, 0)),
    "softsign": lambda x: (1 + np.abs(x)) ** -2.0,
    "erf": lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "ndtr": lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
}
#: Slopes that are differences: exact to a few units of the largest slope, not of their own.
FROM_DIFFERENCES = {"tanh", "sigmoid", "silu", "gelu"}


@pytest.mark.parametrize("name", SLOPES)
def test_slope(name, how):
    x = nnlib.tensor(np.linspace(-80, 80, 16_001).astype("f4"), requires_grad=True)
    with np.errstate(under="ignore"):
        ROWS[name].function(x).sum().backward()
        wide = x.detach().numpy().astype("f8")
        expected = SLOPES[name](wide)
        # exponents that are rounded: x² has an error that grows with it
        relative = 0 if name in FROM_DIFFERENCES else 4e-7 * (1 + wide * wide)
    error = np.abs(x.grad.numpy() - expected)
    assert (error <= relative * expected + (1e-6 if name in FROM_DIFFERENCES else 1e-37)).all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, of infinities
def test_gradients_of_logaddexp_add_up_to_one(backend):
    for value in (0.0, 1e5, 1e9, 1e17, -1e17, INFINITY, -INFINITY):
        for dtype in WIDE:
            a = nnlib.tensor(np.array([value, value], dtype), requires_grad=True)
            b = nnlib.tensor(np.array([value, 0], dtype), requires_grad=True)
            nnlib.logaddexp(a, b).sum().backward()
            assert a.grad.numpy()[0] == b.grad.numpy()[0] == 0.5
            np.testing.assert_allclose(a.grad.numpy() + b.grad.numpy(), 1)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("value", [0.0, 1e5, -1e5, 1e9, -1e17, 1e30])
def test_gradients_of_logsumexp_add_up_to_one(value, dtype, backend):
    x = nnlib.tensor(np.array([[value, value, value]], dtype), requires_grad=True)
    nnlib.logsumexp(x, axis=1).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / 3, rtol=1e-6)
    x.grad = None
    nnlib.logsumexp(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / 3, rtol=1e-6)


def test_second_derivative_of_logaddexp_of_equal_values(backend):
    a, b = nnlib.tensor(3.0), nnlib.tensor(3.0)
    assert nnlib.grad(nnlib.grad(nnlib.logaddexp))(a, b).item() == 0.25


def test_gradient_of_logsumexp_of_nothing_likely(backend):
    x = nnlib.full((2, 3), -INFINITY, requires_grad=True)
    nnlib.logsumexp(x, axis=1).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0])
def test_softmax_and_its_logarithm(scale, dtype, how):
    """The rounding of differences between logits is all that is lost, also where p is almost 1."""
    x = (np.random.default_rng(0).normal(size=(300, 9)) * scale).astype(dtype)
    wide = x.astype(WIDE[dtype])
    gap = wide - wide.max(axis=1, keepdims=True)
    e = np.exp(gap)
    log_total = np.log1p(np.where(gap == 0, 0, e).sum(axis=1, keepdims=True))
    largest = np.abs(gap).astype("f8").max(axis=1, keepdims=True)
    eps = 4 * float(np.finfo(dtype).eps)
    t, labels = nnlib.tensor(x), x.argmax(axis=1)
    found, expected = ops.softmax(t).numpy(), e / (1 + np.expm1(log_total))
    tiny = np.finfo(dtype).smallest_subnormal
    assert (np.abs(found - expected) <= eps * (1 + np.abs(gap)) * expected + tiny).all()
    found, expected = ops.log_softmax(t).numpy(), gap - log_total
    assert (np.abs(found - expected) <= eps * (1 + largest) * np.abs(expected) + tiny).all()
    losses = ops.softmax_cross_entropy(t, nnlib.tensor(labels)).numpy()[:, None]
    assert (np.abs(losses - log_total) <= eps * (1 + largest) * log_total + tiny).all()


def test_powers_of_zero(backend):
    a = nnlib.tensor([0.0, 0.0, 0.0, 2.0], requires_grad=True)
    b = nnlib.tensor([0.0, 1.0, 2.0, 0.0], requires_grad=True)
    y = a**b
    y.sum().backward()
    assert y.tolist() == [1, 0, 0, 1]
    assert a.grad.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(b.grad.numpy(), [0, 0, 0, np.log(2)], rtol=1e-6)
