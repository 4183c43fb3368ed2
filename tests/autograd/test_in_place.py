"""Assignment and in-place operators."""

import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, GradientError, ShapeError


def test_assignment(backend):
    x = nnlib.zeros(2, 3)
    x[0] = 1.0
    x[1, ::2] = nnlib.tensor([2.0, 3.0])
    x[:, 1] = [4.0, 5.0]
    assert x.tolist() == [[1.0, 4.0, 1.0], [2.0, 5.0, 3.0]]
    x[x > 3] = 0.0
    x[nnlib.tensor([1, 1]), 2] = np.float64(7)
    assert x.tolist() == [[1.0, 0.0, 1.0], [2.0, 0.0, 7.0]]


def test_assignment_that_does_not_fit(backend):
    x = nnlib.zeros(2, 3)
    with pytest.raises(ShapeError, match=r"Received: float32 \(2,\) for float32 \(2, 3\)"):
        x[0] = nnlib.ones(2)
    with pytest.raises(ShapeError, match="assignment"):
        x.copy_(nnlib.ones(4))


def test_broadcast_views_cannot_be_changed():
    with pytest.raises(ShapeError, match="read-only"):
        nnlib.broadcast_to(nnlib.ones(3), shape=(2, 3)).zero_()


def test_in_place_operators_keep_the_array(backend):
    x = nnlib.tensor([1.0, 2.0])
    y, data = x, x.data
    x += 1
    x *= nnlib.tensor([2.0, 3.0])
    x -= [1.0, 1.0]
    x /= 2
    x **= 2
    x //= 0.5
    x %= 3
    assert x is y
    assert x.data is data
    assert x.tolist() == [1.0, 2.0]
    mask, seen = nnlib.tensor([True, True, False]), nnlib.tensor([True, False, False])
    data = mask.data
    mask &= seen
    mask |= [False, False, True]
    assert mask.data is data
    assert mask.tolist() == [True, False, True]


def test_in_place_operators_keep_shape_and_kind(backend):
    x = nnlib.ones(2)
    with pytest.raises(ShapeError, match=r"in-place add must keep the shape \(2,\)"):
        x += nnlib.ones(3, 2)
    n = nnlib.tensor([1, 2])
    with pytest.raises(DTypeError, match=r"in-place add must not turn int64 into float32.*astype"):
        n += 0.5
    n += 1
    n //= 2
    assert n.tolist() == [1, 1]
    b = nnlib.tensor([True, False])
    with pytest.raises(DTypeError, match=r"in-place add must not turn bool into int64"):
        b += 1


def test_leaf_is_not_changed_behind_the_graphs_back(backend):
    x = nnlib.ones(2, requires_grad=True)
    for change in (x.__iadd__, x.copy_, x.fill_, lambda v: x.__setitem__(0, v)):
        with pytest.raises(GradientError, match=r"not differentiable.*no_grad\(\)"):
            change(2.0)
    assert x.tolist() == [1.0, 1.0]
    with nnlib.no_grad():
        x -= 0.5
        x[0] = 3.0
    assert x.tolist() == [3.0, 0.5]
    assert x.requires_grad


def test_running_sum_of_recorded_values(backend):
    """``total += loss`` is common in training loops."""
    x = nnlib.tensor(2.0, requires_grad=True)
    total = nnlib.zeros(())
    for factor in (1.0, 2.0):
        total += x * factor
    assert total.requires_grad
    total.backward()
    assert x.grad.item() == 3.0


def test_in_place_operator_on_a_result_is_recorded(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y *= x
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_recorded_value_cannot_be_assigned(backend):
    x = nnlib.zeros(2)
    with pytest.raises(GradientError, match="not differentiable"):
        x[0] = nnlib.ones((), requires_grad=True)
