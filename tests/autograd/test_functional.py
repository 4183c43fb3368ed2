"""`grad` and `value_and_grad`: derivatives as functions."""

import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, GradientError, OptionError, ShapeError


def test_value_and_gradient(backend):
    value, gradient = nnlib.value_and_grad(lambda x: (x**3).sum())(nnlib.tensor([1.0, 2.0]))
    assert value.item() == 9.0
    assert gradient.tolist() == [3.0, 12.0]
    assert not value.requires_grad
    assert not gradient.requires_grad


def test_plain_data_may_be_given():
    assert nnlib.grad(lambda x: x * x)(3.0).item() == 6.0
    assert nnlib.grad(lambda x: (x * x).sum())([1.0, 2.0]).tolist() == [2.0, 4.0]
    gradient = nnlib.grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    assert (gradient.dtype, gradient.tolist()) == ("float64", [2.0, 4.0])


def test_several_arguments(backend):
    def f(a, b, c, scale=1.0):
        return (a * b + c).sum() * scale

    a, b, c = nnlib.tensor([1.0, 2.0]), nnlib.tensor([3.0, 4.0]), nnlib.tensor([5.0])
    by_a, by_c = nnlib.grad(f, argnums=(0, -1))(a, b, c)
    assert (by_a.tolist(), by_c.tolist()) == ([3.0, 4.0], [2.0])
    assert nnlib.grad(f, argnums=1)(a, b, c, scale=2.0).tolist() == [2.0, 4.0]


def test_argument_without_influence(backend):
    f = nnlib.grad(lambda a, b: (a * 2).sum(), argnums=(0, 1))
    by_a, by_b = f(nnlib.ones(2), nnlib.ones(3))
    assert (by_a.tolist(), by_b.tolist()) == ([2.0, 2.0], [0.0, 0.0, 0.0])


def test_one_tensor_as_two_arguments():
    x = nnlib.tensor(3.0)
    by_a, by_b = nnlib.grad(lambda a, b: a * a * b, argnums=(0, 1))(x, x)
    assert (by_a.item(), by_b.item()) == (18.0, 9.0)


def test_gradients_are_the_callers_own():
    f = nnlib.grad(lambda a, b: ((a + b) * nnlib.ones(2)).sum(), argnums=(0, 1))
    by_a, by_b = f(nnlib.ones(2), nnlib.ones(2))
    by_a += 1
    assert (by_a.tolist(), by_b.tolist()) == ([2.0, 2.0], [1.0, 1.0])


def test_leaves_of_the_caller_are_left_alone(backend):
    x, w = nnlib.ones(2, requires_grad=True), nnlib.ones(2, requires_grad=True)
    gradient = nnlib.grad(lambda x: (x * w).sum())(x)
    assert x.grad is w.grad is None
    assert gradient.tolist() == [1.0, 1.0]


def test_higher_orders(backend):
    f = lambda x: x**5  # noqa: E731
    for expected in (80.0, 160.0, 240.0, 240.0, 120.0, 0.0):
        f = nnlib.grad(f)
        assert f(2.0).item() == expected


def test_mixed_derivative(backend):
    f = nnlib.grad(nnlib.grad(lambda x, y: nnlib.sin(x * y), argnums=0), argnums=1)
    x, y = 0.5, 1.5
    expected = np.cos(x * y) - x * y * np.sin(x * y)
    np.testing.assert_allclose(f(x, y).item(), expected, rtol=1e-6)


def test_inner_gradient_depends_on_the_outer_variable(backend):
    """The inner function sees the outer variable through its closure only."""

    def outer(x):
        return x * nnlib.grad(lambda y: x * y * y)(3.0)  # x · 6x

    value, gradient = nnlib.value_and_grad(outer)(2.0)
    assert (value.item(), gradient.item()) == (24.0, 24.0)
    assert not gradient.requires_grad
    assert nnlib.grad(nnlib.grad(outer))(2.0).item() == 12.0


def test_inner_derivatives_do_not_mix_with_outer_ones():
    """Perturbation confusion: d/dx [x · d/dy (x + y)] is 1, not 2."""
    assert nnlib.grad(lambda x: x * nnlib.grad(lambda y: x + y)(1.0))(1.0).item() == 1.0


def test_gradient_of_a_gradient_reaches_parameters(backend):
    """A gradient penalty: the loss is made of a gradient by the input."""
    w = nnlib.tensor([1.0, 2.0], requires_grad=True)
    x = nnlib.tensor([3.0, 4.0])
    by_input = nnlib.grad(lambda x: (w * w * x).sum())(x)
    by_input.sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_inside_no_grad(backend):
    w = nnlib.tensor(2.0, requires_grad=True)
    with nnlib.no_grad():
        gradient = nnlib.grad(lambda x: x * x * w)(w)
        assert nnlib.grad(nnlib.grad(lambda x: x**3))(2.0).item() == 12.0
    assert gradient.item() == 8.0
    assert not gradient.requires_grad


def test_jacobian_row_by_row(backend):
    def f(x):
        return nnlib.stack([x[0] * x[1], x[1] ** 2])

    x = nnlib.tensor([2.0, 3.0])
    rows = [nnlib.grad(lambda x, i=i: f(x)[i])(x).tolist() for i in range(2)]
    assert rows == [[3.0, 2.0], [0.0, 6.0]]


def test_value_must_be_single():
    with pytest.raises(ShapeError, match=r"single value. Received: shape \(2,\)"):
        nnlib.grad(lambda x: x * 2)(nnlib.ones(2))


@pytest.mark.parametrize("function", [lambda x: 1.0, lambda x: x.numpy(), lambda x: x.detach()])
def test_value_must_come_from_the_arguments(function):
    with pytest.raises(GradientError, match="computed from its arguments"):
        nnlib.grad(function)(nnlib.ones(()))


def test_argnums_out_of_range():
    with pytest.raises(OptionError, match=r"argnums \(2,\) must name some of the 1 arguments"):
        nnlib.grad(lambda x: x, argnums=2)(1.0)


def test_integers_are_refused():
    with pytest.raises(DTypeError, match="floating-point"):
        nnlib.grad(lambda x: x * x)(3)
