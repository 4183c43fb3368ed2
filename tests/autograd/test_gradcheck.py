"""The tool that checks derivatives must find wrong ones."""

import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, GradcheckError, GradientError
from nnlib.ops.operation import primitive


def point(*values):
    return nnlib.tensor(list(values), dtype="float64", requires_grad=True)


@primitive
def wrong(xp, x):
    return xp.sin(x)


@wrong.vjp("x")
def _(g, x):
    return g * nnlib.cos(x) * (1 + 1e-5)


def test_right_derivative(backend):
    assert nnlib.gradcheck(lambda x, y: nnlib.sin(x) * y, [point(0.3, 1.0), point(2.0, 3.0)])


def test_slightly_wrong_derivative(backend):
    with pytest.raises(GradcheckError, match=r"by input 0 at flat index 0 must be .* Received: "):
        nnlib.gradcheck(wrong, [point(0.3)])


def test_each_input_is_checked():
    with pytest.raises(GradcheckError, match="by input 1"):
        nnlib.gradcheck(lambda x, y: x * wrong(y), [point(0.3), point(0.4)])


def test_missing_dependence_is_found():
    with pytest.raises(GradcheckError):
        nnlib.gradcheck(lambda x: x * x.detach(), [point(2.0)])


def test_not_a_number_is_no_agreement():
    with np.errstate(invalid="ignore"), pytest.raises(GradcheckError):
        nnlib.gradcheck(lambda x: x * float("nan"), [point(2.0)])


def test_inputs_and_grad_are_left_alone(backend):
    x = point(1.0, 2.0)
    nnlib.gradcheck(lambda x: x**2, [x])
    assert x.tolist() == [1.0, 2.0]
    assert x.grad is None


def test_constant_inputs_are_not_checked():
    constant = nnlib.tensor([1.0])  # float32: would be refused
    assert nnlib.gradcheck(lambda x, c: x * c, [point(2.0), constant])


def test_single_precision_is_refused():
    with pytest.raises(DTypeError, match=r"float64. Received: input 0, float32 \(2,\)"):
        nnlib.gradcheck(lambda x: x, [nnlib.ones(2, requires_grad=True)])


def test_nothing_to_check():
    with pytest.raises(GradientError, match="requires_grad=True"):
        nnlib.gradcheck(lambda x: x, [nnlib.ones(2, dtype="float64")])
