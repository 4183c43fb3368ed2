import numpy as np
import pytest

import nnlib


@pytest.mark.parametrize(("exponent", "slope"), [(0, 0), (0.0, 0), (1, 1), (2, 0), (3, 0)])
@pytest.mark.parametrize("kind", ["number", "tensor"])
def test_power_of_zero(exponent, slope, kind, backend):
    x = nnlib.tensor([0.0, 2.0], requires_grad=True)
    b = exponent if kind == "number" else nnlib.tensor(float(exponent))
    (x**b).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [slope, exponent * 2.0 ** (exponent - 1)])


@pytest.mark.parametrize("order", [2, 3])
def test_higher_derivatives_of_a_small_power_end_at_zero(order):
    def f(x):
        return x**order

    for _ in range(order + 1):
        f = nnlib.grad(f)
    assert f(0.0).item() == 0.0


def test_number_to_the_power_of_a_tensor(backend):
    x = nnlib.tensor([0.0, 1.0, 3.0], requires_grad=True)
    (2**x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.log(2) * np.array([1, 2, 8]), rtol=1e-6)


@pytest.mark.parametrize("function", [nnlib.maximum, nnlib.minimum])
def test_ties_share_the_gradient(function, backend):
    a = nnlib.tensor([1.0, 2.0, 3.0], requires_grad=True)
    b = nnlib.tensor([1.0, 0.0, 5.0], requires_grad=True)
    function(a, b).sum().backward()
    assert a.grad.tolist()[0] == b.grad.tolist()[0] == 0.5
    np.testing.assert_array_equal((a.grad + b.grad).numpy(), [1, 1, 1])


def test_slope_of_the_absolute_value_at_zero_is_zero(backend):
    x = nnlib.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    abs(x).sum().backward()
    assert x.grad.tolist() == [-1.0, 0.0, 1.0]


def test_one_tensor_on_both_sides(backend):
    x = nnlib.tensor([2.0, -3.0], requires_grad=True)
    (x * x - x / x + x ** x.detach()).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [4 + 4, -6 - 3 * (-3.0) ** -4], rtol=1e-6)
