"""Data sets of one's own: rows for an array of indices, or an example for an integer."""

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.data import ArrayDataset, DataLoader
from nnlib.data.examples import gives_examples, rows_of, stacked
from nnlib.errors import DataError

X = np.random.default_rng(0).normal(size=(10, 4, 3)).astype(np.float32)
Y = np.arange(10) % 3


class Given:
    """A data set whose answers a function gives."""

    def __init__(self, give, length=10):
        self.give, self.length, self.asked = give, length, []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.asked.append(index)
        return self.give(index)


def only_integers(i):
    if not isinstance(i, int):
        raise TypeError("an integer, please")
    return X[i], int(Y[i])


ONE_BY_ONE = {
    "integers": only_integers,
    "converted": lambda i: (np.full((2,), float(i), "f4"), int(i) % 3),
    "flipped": lambda i: (X[i][:, ::-1], Y[i]),
    "transposed": lambda i: (X[i].T, Y[i]),
    "turned": lambda i: (X[i].reshape(3, 4), Y[i]),
    "averaged": lambda i: (X[i].mean(0), Y[i]),
    "normalized": lambda i: (X[i] / X[i].max(), Y[i]),
    "flat": lambda i: (X[i].reshape(-1), Y[i]),
    "a number": lambda i: float(i),
    "a list": lambda i: [X[i].tolist(), [1.0] * 2],
    "tensors": lambda i: (nnlib.tensor(X[int(i)]), nnlib.tensor(int(i))),
    "as many features as rows": lambda i: (np.ones(2) * int(i), np.zeros(2)),
    "one of noise": lambda i: (X[i] + np.random.default_rng().normal(size=X[i].shape), Y[i]),
}  # fmt: skip
BY_ROWS = {
    "rows": lambda i: (X[i], Y[i]),
    "one array": lambda i: X[i],
    "a list": lambda i: [X[i], Y[i]],
    "arrays only": lambda i: (i.astype(np.float32), i**2),
    "tensors": lambda i: (nnlib.tensor(X[i]), nnlib.tensor(Y[i])),
    "sums": lambda i: (X[i].sum((-1, -2)), i * 0.1),
    "noise": lambda i: (X[i] + np.random.default_rng().normal(size=(len(i), 4, 3)), Y[i]),
}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_one_example_at_a_time(name, size):
    give = ONE_BY_ONE[name]
    loader = DataLoader(Given(give), size, prefetch=size % 2)
    for _epoch in range(2):
        batches = list(loader)
        assert [len(batch[0]) for batch in batches] == [size] * (10 // size) + (
            [10 % size] if 10 % size else []
        )
        if "noise" in name:
            continue
        parts = give(0) if isinstance(give(0), tuple | list) else (give(0),)
        for place in range(len(parts)):
            joined = np.concatenate([batch[place].numpy() for batch in batches])
            for i in range(10):
                one = give(i)
                one = one[place] if isinstance(one, tuple | list) else one
                np.testing.assert_array_equal(joined[i], nnlib.tensor(one).numpy())
    asked = loader.dataset.asked[3:]
    assert len(asked) >= 20
    assert all(type(i) is int for i in asked)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize("name", BY_ROWS)
def test_rows_of_many_examples(name, size):
    loader = DataLoader(Given(BY_ROWS[name]), size)
    for _epoch in range(2):
        assert sum(len(batch[0]) for batch in loader) == 10
    asked = [i for i in loader.dataset.asked if isinstance(i, np.ndarray)]
    assert len(asked) == 1 + 2 * len(loader)  # one to find out


def test_a_data_set_that_draws_from_the_library_s_stream_is_not_looked_at_twice():
    nnlib.manual_seed(5)
    first = [x.numpy() for (x,) in DataLoader(Given(lambda i: nnlib.rand(len(i), 2)), 5)]
    nnlib.manual_seed(5)
    expected = [nnlib.rand(5, 2).numpy() for _ in range(2)]
    np.testing.assert_array_equal(first, expected)


@pytest.mark.parametrize(
    ("examples", "dtype", "shape"),
    [
        ([1.0, 2], "float32", (2,)),
        ([1, 2], "int64", (2,)),
        ([True, False], "bool", (2,)),
        ([np.float64(1), np.float64(2)], "float64", (2,)),
        ([np.float16(1), np.float16(2)], "float16", (2,)),
        ([np.uint8(1), np.uint8(2)], "uint8", (2,)),
        ([nnlib.ones(3), np.zeros(3, "f4")], "float32", (2, 3)),
        ([[1.0, 2.0, 3.0], [1, 2, 3.0]], "float32", (2, 3)),
        ([(1, 2, 3), (4, 5, 6)], "int64", (2, 3)),
        ([nnlib.nn.Parameter([1.0]), nnlib.ones(1)], "float32", (2, 1)),
    ],
)
def test_parts_become_arrays_of_the_dtypes_of_tensors(examples, dtype, shape):
    whole, again = stacked([(e, e) for e in examples], np.arange(2))
    assert type(whole) is type(again) is np.ndarray
    assert (whole.dtype.name, whole.shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda i: (X[int(i)][: 1 + int(i)], 0), r"part 0 .* \(1, 3\) in example 0 .* example 1"),
        (lambda i: (0, [1] * int(i)), r"part 1 .* \(0,\) in example 0 .* \(1,\) in example 1"),
        (lambda i: (0,) * (1 + int(i)), "1 in example 0 and 2 in example 1"),
        (lambda i: {"x": X[int(i)], "y": 0}, r"a dict of 'x', 'y'.* \(example 0\)"),
        (lambda i: ((X[int(i)], X[int(i)]), 0), r"flat: \(x1, x2, y\)"),
        (lambda i: ({"x": 1}, int(i)), "flat"),
        (lambda i: (), "none"),
        (lambda i: ("text", int(i)), "part 0 .* str in example 0"),
        (lambda i: (None, int(i)), "part 0 .* NoneType in example 0"),
        (lambda i: ([[1], [1, 2]], int(i)), "part 0 .* list in example 0"),
        (lambda i: (2**70 + int(i), 1), "part 0 .* numbers"),
        (lambda i: {}["missing"], "KeyError.* for an array and KeyError.* for an integer"),
        (lambda i: len(i), "a tuple of arrays with a row for each.* TypeError"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 10])
def test_what_cannot_be_put_together(give, message, size):
    with pytest.raises(DataError, match=message):
        next(iter(DataLoader(Given(give), size)))


def test_rows_of_another_number():
    answers = iter([X[:2], TypeError(), X[:4], X[:3]])

    def give(i):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return (answer,)

    loader = iter(DataLoader(Given(give), 4))
    assert len(next(loader)[0]) == 4
    with pytest.raises(DataError, match=r"float32 \(3, 4, 3\) from Given for 4 indices"):
        next(loader)
    for wrong in (3.0, "text", None, ()):
        with pytest.raises(DataError, match="a row for each"):
            rows_of(Given(lambda i, wrong=wrong: wrong), np.arange(2))


def test_errors_of_the_data_set_come_out_as_they_are():
    def give(i):
        if i == 7:
            raise OSError("the disk is gone")
        return float(i)

    with pytest.raises(OSError, match="the disk is gone"):
        list(DataLoader(Given(give), 2))


def test_a_list_of_examples():
    examples = [(x, int(y)) for x, y in zip(X, Y, strict=True)]
    x, y = next(iter(DataLoader(examples, 4, shuffle=True)))
    assert (x.shape, y.shape, y.dtype) == ((4, 4, 3), (4,), "int64")
    assert gives_examples(examples, np.arange(3))
    with pytest.raises(DataError, match="0 examples"):
        DataLoader([])
    for arrays in ([X, Y], (X, Y), X):
        with pytest.raises(DataError, match=r"ArrayDataset\(x, y\)"):
            DataLoader(arrays)


def test_streams_are_refused():
    class Stream:
        def __iter__(self):
            return iter([(X[0], 0)])

    for stream in (Stream(), iter([(X[0], 0)]), (pair for pair in [(X[0], 0)])):
        with pytest.raises(DataError, match=r"without __len__ and __getitem__.*list\(data\)"):
            DataLoader(stream)


def test_training_evaluation_and_prediction_are_those_of_arrays():
    def trained(data):
        nnlib.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        trainer = nnlib.Trainer(model, "cross_entropy", optimizer, ["accuracy"], progress=False)
        history = trainer.fit(data, val=data, epochs=2, batch_size=4)
        names = ("loss", "accuracy", "val_loss")
        return [*(history[n] for n in names), trainer.evaluate(data), trainer.predict(data)]

    expected = trained(ArrayDataset(X, Y))
    for data in (Given(only_integers), Given(BY_ROWS["rows"])):
        for ours, theirs in zip(trained(data), expected, strict=True):
            np.testing.assert_equal(ours, theirs)


class TestPyTorch:
    pytestmark = pytest.mark.peers

    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_data_sets(self, torch):
        from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split

        class Own(Dataset):
            def __len__(self):
                return 10

            def __getitem__(self, i):
                return torch.tensor(X[i]), int(Y[i])

        whole = TensorDataset(torch.tensor(X), torch.tensor(Y))
        every = range(10)
        for data, rows in [
            (whole, every),
            (Own(), every),
            (Subset(whole, [3, 1, 2]), [3, 1, 2]),
            (Subset(Own(), np.array([3, 1, 2])), [3, 1, 2]),
            (ConcatDataset([Subset(whole, range(4)), Subset(Own(), range(4, 10))]), every),
        ]:
            batches = list(DataLoader(data, 4))
            for place, expected in ((0, X), (1, Y)):
                joined = np.concatenate([batch[place].numpy() for batch in batches])
                np.testing.assert_array_equal(joined, expected[list(rows)])
                assert joined.dtype == expected.dtype
        part, _ = random_split(whole, [5, 5])
        assert len(next(iter(DataLoader(part, 5)))[0]) == 5

    def test_streams_and_loaders(self, torch):
        from torch.utils.data import DataLoader as TorchLoader
        from torch.utils.data import IterableDataset, TensorDataset

        class Stream(IterableDataset):
            def __iter__(self):
                return iter([(torch.ones(3), 0)])

        with pytest.raises(DataError, match="without __len__"):
            DataLoader(Stream())
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        trainer = nnlib.Trainer(
            model, "cross_entropy", optim.SGD(model.parameters()), progress=False
        )
        with pytest.raises(DataError, match="DataLoader"):
            trainer.fit(Stream())
        loader = TorchLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), 4)
        assert trainer.fit(loader).step_losses
        assert trainer.evaluate(loader) == pytest.approx(trainer.evaluate((X, Y), batch_size=4))
        assert trainer.predict(loader).shape == (10, 3)
