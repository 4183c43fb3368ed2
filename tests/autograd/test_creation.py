"""Making tensors, and taking them over from other libraries."""

import numpy as np
import pytest

import nnlib
from nnlib.autograd import ones_like, zeros_like
from nnlib.errors import DTypeError, ShapeError

DTYPES = [
    (1.5, "float32"), (2, "int64"), (True, "bool"), ([1, 2.5], "float32"), ([1, 2], "int64"),
    ([[1, 2], [3, 4.0]], "float32"), ([], "float32"), ([[], []], "float32"), ([True], "bool"),
    (np.float64(1.5), "float64"), (np.ones(2, np.float16), "float16"), (np.arange(3), "int64"),
    (np.array([1], np.uint8), "uint8"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "dtype"), DTYPES)
def test_dtype(data, dtype, backend):
    assert nnlib.tensor(data, backend=backend).dtype == dtype
    assert nnlib.tensor(data, "float64", backend=backend).dtype == "float64"


def test_array_is_wrapped_not_copied():
    array = np.ones(3)
    x = nnlib.tensor(array)
    array[0] = 7
    assert x.tolist() == [7.0, 1.0, 1.0]
    assert nnlib.tensor(array, dtype="float32").data is not array


def test_host_data_go_to_the_current_backend():
    with nnlib.use_backend("strict"):
        assert nnlib.tensor(np.ones(2)).backend.name == "strict"
        assert nnlib.tensor([1.0]).backend.name == "strict"
        assert nnlib.tensor(nnlib.ones(2, backend="numpy")).backend.name == "numpy"


def test_device_arrays_stay_where_they_are():
    there = nnlib.ones(2, backend="strict")
    assert nnlib.tensor(there.data).backend.name == "strict"
    assert nnlib.tensor(there).backend.name == "strict"
    assert nnlib.tensor(there, backend="numpy").backend.name == "numpy"


@pytest.mark.parametrize("data", ["abc", None, [[1, 2], [3]], 1j, [object()], {"a": 1}])
def test_what_is_no_tensor(data, backend):
    with pytest.raises(DTypeError, match="tensor"):
        nnlib.tensor(data)


def test_gradient_of_integers():
    with pytest.raises(DTypeError, match="floating-point"):
        nnlib.tensor([1, 2], requires_grad=True)


MADE = {
    "zeros": (lambda: nnlib.zeros(2, 3), np.zeros((2, 3))),
    "zeros of a tuple": (lambda: nnlib.zeros((2, 3)), np.zeros((2, 3))),
    "zeros of a list": (lambda: nnlib.zeros([2, 3]), np.zeros((2, 3))),
    "zeros of numpy's": (lambda: nnlib.zeros(np.int64(2)), np.zeros(2)),
    "zeros of nothing": (lambda: nnlib.zeros(), np.zeros(())),
    "ones": (lambda: nnlib.ones(2, 0), np.ones((2, 0))),
    "full": (lambda: nnlib.full((2, 2), 3.5), np.full((2, 2), 3.5)),
    "eye": (lambda: nnlib.eye(3), np.eye(3)),
    "linspace": (lambda: nnlib.linspace(0, 1, 5), np.linspace(0, 1, 5)),
    "arange": (lambda: nnlib.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25)),
    "zeros_like": (lambda: zeros_like(nnlib.ones(2, 3)), np.zeros((2, 3))),
    "ones_like": (lambda: ones_like(nnlib.zeros(2, 3)), np.ones((2, 3))),
}


@pytest.mark.parametrize(("make", "expected"), MADE.values(), ids=MADE)
def test_made(make, expected, backend):
    x = make()
    assert x.backend is backend
    assert x.dtype == "float32"
    assert x.shape == expected.shape
    np.testing.assert_array_equal(x.numpy(), expected)


def test_arange_of_integers(backend):
    assert nnlib.arange(2, 6, 2).dtype == "int64"
    assert nnlib.arange(3, dtype="float32").tolist() == [0.0, 1.0, 2.0]


def test_like_keeps_dtype_and_place():
    x = nnlib.ones(2, dtype="float64", backend="strict")
    for y in (zeros_like(x), ones_like(x)):
        assert (y.dtype, y.backend) == ("float64", x.backend)
    assert zeros_like(x, "int64").dtype == "int64"


def test_random(backend):
    x, y = nnlib.rand(2, 3), nnlib.randn((2, 3), requires_grad=True)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((2, 3), (2, 3), "float32", "float32")
    assert y.requires_grad
    nnlib.manual_seed(0)
    np.testing.assert_array_equal(nnlib.rand(2, 3).numpy(), x.numpy())


def test_impossible_shapes():
    with pytest.raises(ShapeError, match=r"zeros: negative.*\(-1,\)"):
        nnlib.zeros(-1)
    with pytest.raises(DTypeError, match="ones: "):
        nnlib.ones("ab")


# DLPack ------------------------------------------------------------------------------------------


def test_dlpack_from_numpy_shares_memory():
    array = np.arange(3.0)
    x = nnlib.from_dlpack(array)
    array[0] = 5
    assert x.tolist() == [5.0, 1.0, 2.0]
    assert (x.dtype, x.backend.name) == ("float64", "numpy")


def test_dlpack_to_numpy_shares_memory():
    x = nnlib.ones(3)
    array = np.from_dlpack(x)
    x[0] = 5.0
    assert array.tolist() == [5.0, 1.0, 1.0]
    assert x.__dlpack_device__() == (1, 0)


@pytest.mark.peers
def test_dlpack_with_torch_shares_memory():
    torch = pytest.importorskip("torch")
    theirs = torch.ones(3)
    x = nnlib.from_dlpack(theirs)
    theirs[1] = 4
    assert x.tolist() == [1.0, 4.0, 1.0]
    back = torch.from_dlpack(x)
    x[0] = 7.0
    assert back.tolist() == [7.0, 4.0, 1.0]


@pytest.mark.peers
def test_tensors_of_peers_are_copied():
    torch = pytest.importorskip("torch")
    x = nnlib.tensor(torch.ones(2, dtype=torch.float64))
    assert (x.dtype, x.tolist()) == ("float64", [1.0, 1.0])
