import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, ShapeError


@pytest.mark.parametrize("function", [nnlib.max, nnlib.min])
def test_equal_extremes_share_the_gradient(function, backend):
    x = nnlib.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 3.0, 3.0, 2.0]], requires_grad=True)
    function(x, axis=1).sum().backward()
    first, second = x.grad.tolist()
    assert first == [0.25] * 4
    assert sorted(second) == [0.0, 0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, 3.0, 4.0], [12, 8, 6]),
        ([2.0, 0.0, 4.0], [0, 8, 0]),
        ([0.0, 0.0, 4.0], [0, 0, 0]),
        ([0.0], [1]),
    ],
)
def test_product_with_zeros(values, expected, backend):
    x = nnlib.tensor(values, requires_grad=True)
    nnlib.prod(x).backward()
    assert x.grad.tolist() == expected


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 1)])
@pytest.mark.parametrize("zeros", [0, 1, 3])
def test_second_derivative_of_a_product_with_zeros(axis, zeros, backend):
    x = np.random.default_rng(0).normal(size=(2, 3, 2))
    x.ravel()[:zeros] = 0
    nnlib.gradcheck(
        lambda x: nnlib.grad(lambda x: (nnlib.prod(x, axis=axis) ** 2).sum())(x),
        [nnlib.tensor(x, requires_grad=True)],
    )


def test_mean_of_integers_and_booleans(backend):
    assert nnlib.tensor([1, 2, 4, 4]).mean().item() == 2.75
    assert (nnlib.tensor([1, 2, 3, 4]) > 1).mean().item() == 0.75


def test_sum_of_booleans_counts(backend):
    count = (nnlib.tensor([1.0, -1.0, 2.0]) > 0).sum()
    assert count.dtype == "int64"
    assert count.item() == 2


def test_variance_does_not_cancel(backend):
    """The textbook's E[x²] − E[x]² gives 0 or less here, in float32."""
    x = nnlib.tensor([10000.0, 10001.0, 10002.0])
    np.testing.assert_allclose(x.var().item(), 2 / 3, rtol=1e-4)
    np.testing.assert_allclose(x.std(ddof=1).item(), 1, rtol=1e-4)


def test_logsumexp_at_the_ends(backend):
    x = nnlib.tensor([[1e4, 1e4], [-1e4, -1e4], [float("-inf"), float("-inf")]])
    expected = [1e4 + np.log(2), -1e4 + np.log(2), -np.inf]
    np.testing.assert_allclose(nnlib.logsumexp(x, axis=1).numpy(), expected, rtol=1e-6)


def test_axis_may_be_a_numpy_integer(backend):
    x = nnlib.ones(2, 3, requires_grad=True)
    for axis in np.arange(2):
        x.sum(axis).sum().backward()
        x.mean(axis, keepdims=True).sum().backward()
    assert x.grad.shape == (2, 3)


@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
@pytest.mark.parametrize("function", [nnlib.sum, nnlib.mean, nnlib.max, nnlib.logsumexp])
def test_axis_out_of_range(function, axis, backend):
    with pytest.raises(ShapeError, match=r"axis .* is out of bounds.*Received: float32 \(2, 3\)"):
        function(nnlib.ones(2, 3), axis=axis)


@pytest.mark.parametrize("axis", ["a", (0, "a")])
@pytest.mark.parametrize("function", [nnlib.sum, nnlib.mean])
def test_axis_that_is_no_integer(function, axis, backend):
    for rows in (2, 1 << 15):
        with pytest.raises(DTypeError, match=r"integer.*Received: float32 \(\d+, 3\)"):
            function(nnlib.ones(rows, 3), axis=axis)


def test_largest_of_nothing():
    with pytest.raises(ShapeError, match=r"max: .*Received: float32 \(0,\)"):
        nnlib.zeros(0).max()
