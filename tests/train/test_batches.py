import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import DataError, ShapeError
from nnlib.train.batches import as_loader, batches, home_of, split

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (nnlib.tensor(X), nnlib.tensor(Y)),
        ArrayDataset(X, Y),
        DataLoader(ArrayDataset(X, Y), 4),
        [(X[:4], Y[:4]), (X[4:], Y[4:])],
    ],
    ids=["arrays", "tensors", "dataset", "loader", "list"],
)
def test_every_kind_of_data_gives_the_same_batches(backend, data):
    loader = as_loader(data, 4, shuffle=False)
    for _ in range(2):  # epochs
        first, second = batches(loader, backend, np.dtype("float32"))
        assert first[0].backend is backend
        assert (first[0].dtype, first[1].dtype) == ("float32", "int64")
        np.testing.assert_array_equal(first[0].numpy(), X[:4])
        np.testing.assert_array_equal(second[1].numpy(), Y[4:])


def test_a_dataset_of_ones_own():
    class Squares:
        def __len__(self):
            return 5

        def __getitem__(self, index):
            return index.astype(np.float32), index**2

    loader = as_loader(Squares(), 2, shuffle=False)
    assert [y.tolist() for _, y in batches(loader, nnlib.get_backend(), None)] == [
        [0, 1],
        [4, 9],
        [16],
    ]


def test_arrays_are_shuffled_if_asked():
    loader = as_loader((X, Y), 6, shuffle=True)
    ((_, y),) = batches(loader, nnlib.get_backend(), None)
    assert sorted(y.tolist()) == Y.tolist() != y.tolist()


def test_skipping():
    loader = [(X[:2], Y[:2]), (X[2:], Y[2:])]
    ((_, y),) = batches(loader, nnlib.get_backend(), None, skip=1)
    assert y.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("data", [X, "digits", {"x": X}, 5, iter([(X, Y)])])
def test_other_things_are_refused(data):
    with pytest.raises(DataError, match="data must be"):
        as_loader(data, 4, shuffle=False)


def test_arrays_of_different_length_are_refused():
    with pytest.raises(ShapeError, match="same length"):
        as_loader((X, Y[:5]), 4, shuffle=False)


@pytest.mark.parametrize(
    ("loader", "message"),
    [([], "at least one batch"), ([5], "tuple of arrays"), ([(np.ones(()), Y)], "first axis")],
)
def test_bad_batches_are_refused(loader, message):
    with pytest.raises(DataError, match=message):
        list(batches(loader, nnlib.get_backend(), None))


def test_a_generator_that_is_used_up_is_noticed():
    class Once:
        def __init__(self):
            self.items = iter([(X, Y)])

        def __iter__(self):
            return self.items

    loader = Once()
    assert len(list(batches(loader, nnlib.get_backend(), None))) == 1
    with pytest.raises(DataError, match="only once"):
        list(batches(loader, nnlib.get_backend(), None))


def test_split_needs_a_target():
    assert split((1, 2, 3)) == ((1, 2), 3)
    with pytest.raises(DataError, match="inputs and targets"):
        split((1,))


def test_home_is_where_the_parameters_are(backend):
    found, dtype = home_of(nn.Linear(2, 1))
    assert (found, dtype) == (backend, "float32")
    assert home_of(nn.ReLU()) == (backend, None)
