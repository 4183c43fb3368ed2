import math

import numpy as np
import pytest
from scipy import stats

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import init
from nnlib.random import Generator, default_generator

SHAPE = (120, 3, 3, 40)
FAN_IN, FAN_OUT = 360, 1080

# initialiser, options → expected variance
VARIANCES = [
    (init.xavier_uniform_, {}, 2 / (FAN_IN + FAN_OUT)),
    (init.xavier_normal_, {"gain": 5 / 3}, (5 / 3) ** 2 * 2 / (FAN_IN + FAN_OUT)),
    (init.kaiming_uniform_, {}, 2 / FAN_IN),
    (init.kaiming_uniform_, {"a": math.sqrt(5)}, 1 / (3 * FAN_IN)),
    (init.kaiming_normal_, {"nonlinearity": "relu"}, 2 / FAN_IN),
    (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, 2 / FAN_OUT),
    (init.kaiming_normal_, {"nonlinearity": "tanh"}, (5 / 3) ** 2 / FAN_IN),
    (init.lecun_uniform_, {}, 1 / FAN_IN),
    (init.lecun_normal_, {}, 1 / FAN_IN),
    (init.normal_, {"mean": 0.0, "std": 3.0}, 9.0),
    (init.uniform_, {"low": -2.0, "high": 2.0}, 16 / 12),
]


@pytest.mark.parametrize(("function", "options", "variance"), VARIANCES)
def test_variance_is_the_formula(function, options, variance):
    values = function(init.empty(*SHAPE), **options).numpy()
    # 43,200 values: standard error of the variance below 0.7 %
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)


@pytest.mark.parametrize(
    ("function", "bound"),
    [
        (init.xavier_uniform_, math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (init.kaiming_uniform_, math.sqrt(6 / FAN_IN)),
        (init.lecun_uniform_, math.sqrt(3 / FAN_IN)),
    ],
)
def test_uniform_ones_fill_their_range(function, bound):
    largest = abs(function(init.empty(*SHAPE)).numpy()).max()
    assert 0.99 * bound < largest <= bound * (1 + 1e-6)


def test_fans_of_matrix_and_filters():
    assert init.fans(init.empty(10, 20)) == (20, 10)
    assert init.fans(init.empty(*SHAPE)) == (FAN_IN, FAN_OUT)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (8, 3, 3, 2), (30, 30)])
def test_orthogonal(shape):
    w = init.orthogonal_(init.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4.0 * np.eye(len(product)), atol=1e-5)


def test_orthogonal_does_not_prefer_a_sign():
    signs = [np.sign(init.orthogonal_(init.empty(3, 3)).numpy()) for _ in range(300)]
    assert abs(np.mean(signs, axis=0)).max() < 0.2  # without the correction the diagonal is −0.6


def test_truncated_normal():
    values = init.trunc_normal_(init.empty(50_000), mean=1.0, std=2.0, a=0.0, b=4.0).numpy()
    assert 0 <= values.min() < 0.01
    assert 3.99 < values.max() <= 4
    exact = stats.truncnorm(-0.5, 1.5, loc=1.0, scale=2.0)
    assert values.mean() == pytest.approx(exact.mean(), abs=0.02)
    assert values.var() == pytest.approx(exact.var(), rel=0.02)


def test_constants(backend):
    assert init.ones_(init.empty(3)).tolist() == [1, 1, 1]
    assert init.zeros_(init.constant_(init.empty(2), 7.0)).tolist() == [0, 0]
    assert init.empty(2).backend is backend


@pytest.mark.parametrize(
    "function",
    [init.uniform_, init.normal_, init.trunc_normal_, init.kaiming_normal_, init.orthogonal_],
)
def test_same_seed_same_values_on_every_backend(function, backend):
    here = nnlib.manual_seed(7) and function(init.empty(5, 4)).numpy()
    again = function(init.empty(5, 4)).numpy()
    with nnlib.use_backend("numpy"):
        nnlib.manual_seed(7)
        np.testing.assert_allclose(function(init.empty(5, 4)).numpy(), here, rtol=1e-6, atol=1e-6)
    assert not np.allclose(here, again)


def test_float64_gets_the_values_of_float32():
    single, twice = init.empty(6, 5), nnlib.zeros(6, 5, dtype="float64")
    nnlib.manual_seed(1)
    init.normal_(single)
    nnlib.manual_seed(1)
    assert (init.normal_(twice).numpy() == single.numpy()).all()
    assert twice.dtype == "float64"


def test_own_generator_leaves_the_default_one_alone():
    before = default_generator.state_dict()
    a = init.xavier_normal_(init.empty(3, 3), generator=Generator(5))
    b = init.xavier_normal_(init.empty(3, 3), generator=Generator(5))
    assert default_generator.state_dict() == before
    assert (a.numpy() == b.numpy()).all()


def test_parameters_are_filled_in_place_without_recording():
    weight = nn.Parameter(init.empty(2, 3))
    assert init.kaiming_uniform_(weight) is weight
    assert weight.is_leaf
    assert weight.requires_grad


def test_symmetry_is_broken_by_random_weights_only():
    """The course's L7: with equal weights the hidden neurons stay equal."""
    x, y = nnlib.randn(8, 2), nnlib.randn(8, 1)
    for draw, equal in ((init.xavier_normal_, False), (lambda w: init.constant_(w, 0.3), True)):
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        for layer in (net[0], net[2]):
            draw(layer.weight)
            init.zeros_(layer.bias)
        nn.MSELoss()(net(x), y).backward()
        rows = net[0].weight.grad.numpy()
        assert np.allclose(rows, rows[0]) is equal


def test_bad_arguments():
    with pytest.raises(ShapeError, match=r"two axes or more.*\(3,\)"):
        init.xavier_normal_(init.empty(3))
    with pytest.raises(ShapeError, match="orthogonal_ needs two axes"):
        init.orthogonal_(init.empty(3))
    with pytest.raises(OptionError, match=r"'fan_in' or 'fan_out'.*'fan'"):
        init.kaiming_normal_(init.empty(3, 3), mode="fan")
    with pytest.raises(OptionError, match=r"relu.*'swish'"):
        init.calculate_gain("swish")
    with pytest.raises(OptionError, match="a < b"):
        init.trunc_normal_(init.empty(3), a=1.0, b=1.0)
    for size in (-1, 2.5, True):
        with pytest.raises(OptionError, match="integers ≥ 0"):
            init.empty(3, size)
