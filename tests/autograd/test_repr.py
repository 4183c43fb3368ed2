"""Tensors print as NumPy's arrays do, and say what is unusual about them."""

import numpy as np
import pytest

import nnlib

EXAMPLES = {
    "number": (lambda: nnlib.tensor(2.5), "tensor(2.5)"),
    "whole number": (lambda: nnlib.tensor(3.0), "tensor(3.)"),
    "vector": (lambda: nnlib.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
    "integers": (lambda: nnlib.tensor([1, 2]), "tensor([1, 2], dtype=int64)"),
    "booleans": (lambda: nnlib.tensor([True]), "tensor([ True], dtype=bool)"),
    "double": (lambda: nnlib.ones(2, dtype="float64"), "tensor([1., 1.], dtype=float64)"),
    "recorded": (
        lambda: nnlib.ones(2, requires_grad=True) * 2,
        "tensor([2., 2.], requires_grad=True)",
    ),
    "matrix": (
        lambda: nnlib.tensor([[1.0, -2.0], [3.0, 40.0]]),
        "tensor([[ 1., -2.],\n        [ 3., 40.]])",
    ),
    "cube": (
        lambda: nnlib.arange(8).reshape(2, 2, 2),
        "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]], dtype=int64)",
    ),
    "empty": (lambda: nnlib.zeros(0), "tensor([])"),
    "empty matrix": (lambda: nnlib.zeros(0, 3), "tensor([], shape=(0, 3))"),
    "not finite": (
        lambda: nnlib.tensor([float("nan"), float("inf")]),
        "tensor([nan, inf])",
    ),
    "large": (
        lambda: nnlib.arange(10_000),
        "tensor([   0,    1,    2, ..., 9997, 9998, 9999], dtype=int64)",
    ),
    "parameter": (
        lambda: nnlib.nn.Parameter([[1.0], [2.0]]),
        "Parameter([[1.],\n           [2.]], requires_grad=True)",
    ),
}


@pytest.mark.parametrize(("make", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_repr(make, expected):
    assert repr(make()) == expected
    assert f"{make()}" == expected


def test_backend_is_named():
    assert repr(nnlib.ones(2, backend="strict")) == "tensor([1., 1.], backend='strict')"


def test_rows_of_a_large_matrix_are_aligned():
    lines = repr(nnlib.zeros(2000, 2000)).split("\n")
    assert len(lines) == 7
    assert {line.index("[0.") for line in lines if "0." in line} == {8}


def test_printing_follows_numpys_options():
    with np.printoptions(precision=2):
        assert repr(nnlib.tensor([1 / 3])) == "tensor([0.33])"
