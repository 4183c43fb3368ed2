import pytest

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError


def test_it_wants_a_gradient_unless_frozen(backend):
    parameter = nn.Parameter([1.0, 2.0])
    assert parameter.requires_grad
    assert parameter.dtype == "float32"
    assert parameter.backend is backend
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad


def test_it_takes_over_memory_without_a_copy():
    t = nnlib.zeros(3)
    parameter = nn.Parameter(t)
    t.fill_(4.0)
    assert parameter.tolist() == [4, 4, 4]


def test_its_results_are_plain_tensors():
    assert type(nn.Parameter([1.0]) * 2) is nnlib.Tensor


def test_integers_cannot_be_learned():
    with pytest.raises(DTypeError, match="only floating-point tensors have gradients"):
        nn.Parameter([1, 2])


def test_repr():
    assert repr(nn.Parameter([1.0])) == "Parameter([1.], requires_grad=True)"
