import pytest

import nnlib
from nnlib.errors import DTypeError, ShapeError


@pytest.mark.parametrize(
    "pad_width", [((1, 1),) * 3, (1, 2, 3), ((1, 1), (1, 1, 1)), (), "a", None, -1, 0.5]
)
def test_padding_must_be_a_pair_for_each_axis_or_for_all(pad_width, backend):
    with pytest.raises((ShapeError, DTypeError), match=r"pad.*Received"):
        nnlib.pad(nnlib.ones(2, 3), pad_width=pad_width)


def test_views_share_memory_with_their_source():
    x = nnlib.arange(6, dtype="float32")
    view = x.reshape(2, 3).T[1:]
    x[4] = 9.0
    assert view.tolist() == [[1.0, 9.0], [2.0, 5.0]]


def test_number_that_does_not_fit_its_dtype():
    with pytest.raises(DTypeError, match=r"add: .*uint8.*Received: uint8 \(2,\), 300"):
        nnlib.zeros(2, dtype="uint8") + 300


def test_joined_arrays_of_several_dtypes_get_their_own_gradients(backend):
    single = nnlib.ones(2, requires_grad=True)
    double = nnlib.ones(3, dtype="float64", requires_grad=True)
    y = nnlib.concatenate([single, double, nnlib.tensor([1, 2])])
    assert y.dtype == "float64"
    (y * nnlib.arange(7)).sum().backward()
    assert (single.grad.dtype, single.grad.tolist()) == ("float32", [0.0, 1.0])
    assert (double.grad.dtype, double.grad.tolist()) == ("float64", [2.0, 3.0, 4.0])
