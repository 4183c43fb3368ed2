import numpy as np
import pytest

import nnlib


def test_places_named_twice_get_both_gradients(backend):
    x = nnlib.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x[[0, 2, 0, 0]] * nnlib.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [1101.0, 0.0, 10.0]


def test_index_tensors(backend):
    x = nnlib.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = nnlib.tensor([1, 1])
    assert x[rows].tolist() == [[3.0, 4.0], [3.0, 4.0]]
    assert x[rows, nnlib.tensor([0, 1])].tolist() == [3.0, 4.0]
    assert x[x > 1.5].tolist() == [2.0, 3.0, 4.0]
    x[x > 1.5].sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_take_along_axis_adds_up(backend):
    x = nnlib.zeros(2, 3, requires_grad=True)
    picked = nnlib.take_along_axis(x, nnlib.tensor([[0, 0], [2, 1]]), axis=1)
    (picked * nnlib.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert x.grad.tolist() == [[3.0, 0.0, 0.0], [0.0, 4.0, 3.0]]


def test_index_out_of_range():
    with pytest.raises(IndexError, match="out of bounds"):
        nnlib.zeros(3)[5]


def test_gradient_has_the_shape_of_the_whole(backend):
    x = nnlib.ones(4, 5, dtype="float64", requires_grad=True)
    x[1:3, ::2].sum().backward()
    expected = np.zeros((4, 5))
    expected[1:3, ::2] = 1
    np.testing.assert_array_equal(x.grad.numpy(), expected)
