import numpy as np
import pytest

import nnlib
from nnlib.data import ArrayDataset
from nnlib.errors import BackendMismatchError, DataError, DTypeError, NnlibError, ShapeError


@pytest.fixture
def data():
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    return ArrayDataset(x, np.arange(6), classes=("even", "odd"))


@pytest.mark.parametrize(
    "index",
    [
        2,
        -1,
        np.int64(3),
        slice(1, 4),
        slice(None, None, -2),
        [0, 0, 5],
        [],
        np.array([4, -1]),
        np.array([True, False, False, True, False, False]),
    ],
    ids=repr,
)
def test_index_gives_the_rows_of_every_array(data, index):
    rows = data[index]
    assert len(rows) == 2
    for row, array in zip(rows, data.arrays, strict=True):
        wanted = np.array(index, int) if isinstance(index, list) else index
        np.testing.assert_array_equal(row, array[wanted])


def test_rows_by_index_array_are_fresh_and_contiguous(data):
    column_major = ArrayDataset(np.asfortranarray(data.arrays[0]))
    (rows,) = column_major[np.array([3, 1])]
    assert rows.flags.c_contiguous
    rows[...] = -1
    assert (column_major.arrays[0] >= 0).all()


def test_length_classes_and_repr(data):
    assert len(data) == 6
    assert data.classes == ("even", "odd")
    assert repr(data) == "ArrayDataset(6 × [float32 (2,), int64 ()])"


def test_arrays_are_not_copied(data):
    assert ArrayDataset(data.arrays[0]).arrays[0] is data.arrays[0]


def test_tensors_give_their_arrays():
    x = nnlib.tensor(np.ones((3, 2), np.float32))
    assert ArrayDataset(x).arrays[0] is x.data


def test_a_part_is_a_dataset_of_a_slice(data):
    part = ArrayDataset(*data[:2], classes=data.classes)
    assert len(part) == 2


def test_to_the_same_backend_is_the_same_dataset(data):
    assert data.to("numpy") is data


@pytest.mark.parametrize("index", [6, -7, [0, 6]])
def test_index_beyond_the_end(data, index):
    with pytest.raises(IndexError):
        data[index]


class TestErrors:
    def test_no_array(self):
        with pytest.raises(DataError, match="at least one array"):
            ArrayDataset()

    def test_lengths_differ(self):
        with pytest.raises(ShapeError, match=r"same length.*float64 \(3, 2\), int64 \(4,\)"):
            ArrayDataset(np.zeros((3, 2)), np.arange(4))

    def test_list(self):
        with pytest.raises(DTypeError, match=r"Received: list.*np\.asarray"):
            ArrayDataset([[1.0], [2.0]])

    @pytest.mark.parametrize("array", [np.array(["a", "b"]), np.array([{}, None], dtype=object)])
    def test_not_numbers(self, array):
        with pytest.raises(DTypeError, match="numbers or booleans"):
            ArrayDataset(array)

    def test_no_axis(self):
        with pytest.raises(ShapeError, match=r"at least one axis.*float64 \(\)"):
            ArrayDataset(np.array(1.0))

    def test_index_of_several_axes(self, data):
        with pytest.raises(DataError, match=r"Received: \(0, 1\)"):
            data[0, 1]

    def test_array_of_an_unknown_library(self):
        class Foreign:
            dtype = np.dtype("f4")
            shape = (3,)

        with pytest.raises(BackendMismatchError):
            ArrayDataset(Foreign())

    def test_misspelt_backend(self, data):
        with pytest.raises(NnlibError, match="numpi"):
            data.to("numpi")


class Foreign:
    """An array of a library that is no backend, as its objects show themselves."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, "foreign"

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_arrays_of_another_library():
    values = np.arange(6, dtype="float32").reshape(3, 2)
    data = ArrayDataset(Foreign(values), Foreign(np.arange(3)))
    assert data.arrays[0] is values
    assert data[Foreign(np.array([2, 0]))][1].tolist() == [2, 0]
    with pytest.raises(DTypeError, match="numbers or booleans"):
        ArrayDataset(Foreign(np.array(["a"])))


@pytest.mark.peers
def test_torch_tensors():
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(3, 2)
    data = ArrayDataset(x, x.bfloat16(), x.requires_grad_(), torch.tensor([0, 1, 0]))
    assert [a.dtype.name for a in data.arrays] == ["float32", "float32", "float32", "int64"]
    assert np.shares_memory(data.arrays[0], x.detach().numpy())
    assert data[torch.tensor([2, 0])][0].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    with pytest.raises(DTypeError, match="must be made of arrays"):
        ArrayDataset(x.detach().to_sparse())


@pytest.mark.peers
def test_jax_arrays():
    jnp = pytest.importorskip("jax.numpy")
    assert ArrayDataset(jnp.ones((3, 2))).arrays[0].tolist() == [[1.0, 1.0]] * 3
