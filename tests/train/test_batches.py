import sys

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn, optim
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import DataError, ShapeError
from nnlib.train.batches import Placement, as_loader, batches, grouped, split

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
        first, second = batches(loader, Placement(backend, np.dtype("float32")))
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
    assert [y.tolist() for _, y in batches(loader, Placement(nnlib.get_backend(), None))] == [
        [0, 1],
        [4, 9],
        [16],
    ]


def test_arrays_are_shuffled_if_asked():
    loader = as_loader((X, Y), 6, shuffle=True)
    ((_, y),) = batches(loader, Placement(nnlib.get_backend(), None))
    assert sorted(y.tolist()) == Y.tolist() != y.tolist()


def test_skipping():
    loader = [(X[:2], Y[:2]), (X[2:], Y[2:])]
    ((_, y),) = batches(loader, Placement(nnlib.get_backend(), None), skip=1)
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
        list(batches(loader, Placement(nnlib.get_backend(), None)))


def test_a_generator_that_is_used_up_is_noticed():
    class Once:
        def __init__(self):
            self.items = iter([(X, Y)])

        def __iter__(self):
            return self.items

    loader = Once()
    assert len(list(batches(loader, Placement(nnlib.get_backend(), None)))) == 1
    with pytest.raises(DataError, match="only once"):
        list(batches(loader, Placement(nnlib.get_backend(), None)))


def test_split_needs_a_target():
    assert split((1, 2, 3)) == ((1, 2), 3)
    with pytest.raises(DataError, match="inputs and targets"):
        split((1,))


def test_home_is_where_the_parameters_are(backend):
    found = Placement.of(nn.Linear(2, 1))
    assert (found.backend, found.dtype) == (backend, "float32")
    found = Placement.of(nn.ReLU())
    assert (found.backend, found.dtype) == (backend, None)


def test_groups_fetch_nothing_ahead():
    taken = []

    def source():
        for i in range(5):
            taken.append(i)
            yield i

    groups = grouped(source(), 2)
    assert next(groups) == [0, 1]
    assert taken == [0, 1]
    assert list(groups) == [[2, 3], [4]]


class Recorded(ArrayDataset):
    """A dataset that keeps what it gave."""

    def __getitem__(self, index):
        self.given = super().__getitem__(index)
        return self.given


def run_of(points, **options):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    trainer = nnlib.Trainer(model, "cross_entropy", optimizer, progress=False, **options)
    return trainer, DataLoader(Recorded(*points), 10)


@pytest.mark.parametrize("compile", [True, False])
def test_rows_are_not_copied_on_their_way_to_a_step_on_the_host(points, compile):
    trainer, loader = run_of(points, compile=compile)
    trainer.fit(loader, epochs=2)
    for tensor, array in zip(trainer.last_batch, loader.dataset.given, strict=True):
        assert np.shares_memory(tensor.data, array)


@pytest.mark.parametrize("compile", [True, False])
def test_each_array_is_copied_to_a_device_once(points, compile):
    with nnlib.use_backend("strict"):
        trainer, loader = run_of(points, compile=compile)
    trainer.fit(loader, epochs=1)
    resident = DataLoader(ArrayDataset(*points).to("strict"), 10)
    copies = []

    class Count(nnlib.train.Callback):
        def on_step_end(self, trainer):
            copies.append(counts.transfers)

    trainer.callbacks.append(Count())
    for data in (loader, resident):
        with strict_backend.counting() as counts:
            trainer.fit(data, epochs=1)
    host, device = np.diff(copies[:5]), np.diff(copies[5:])  # without the first step, a check
    np.testing.assert_array_equal(host - device, 2)


def test_nothing_but_the_placement_asks_a_backend_about_a_batch(points):
    """The calls of one batch from a loader to a compiled step, by the file that makes them."""
    with nnlib.use_backend("strict"):
        trainer, loader = run_of(points)
    trainer.fit(loader, epochs=1)
    asked, steps = set(), []
    names = {"asarray", "get_backend", "load_backend", "owns", "recorder", "tensor", "to"}

    def look(frame, event, argument):
        if event == "call" and frame.f_code.co_name in names and len(steps) == 2:
            caller = frame.f_back.f_code.co_filename.replace("\\", "/")
            asked.add(caller.rpartition("/nnlib/")[2])

    class Count(nnlib.train.Callback):
        def on_step_end(self, trainer):
            steps.append(trainer.step)

    trainer.callbacks.append(Count())
    sys.setprofile(look)
    try:
        trainer.fit(loader, epochs=1)
    finally:
        sys.setprofile(None)
    rooms = {path for path in asked if path.startswith(("data/", "train/"))}
    assert rooms == {"train/batches.py"}


def test_a_loader_that_changes_its_batches_is_gone_through(points):
    class Halved(DataLoader):
        def __iter__(self):
            for x, y in super().__iter__():
                yield x[:5], y[:5]

    placement = Placement(nnlib.get_backend(), np.dtype("float64"))
    first, *_ = batches(Halved(ArrayDataset(*points), 10), placement)
    assert first[0].shape == (5, 4)
    assert first[0].dtype == "float64"


def test_a_trainer_decides_where_the_batches_of_a_loader_go(points):
    with nnlib.use_backend("strict") as strict:
        placement = Placement.of(nn.Linear(4, 3))
    loader = DataLoader(ArrayDataset(*points), 10, backend="numpy")
    assert {x.backend for batch in batches(loader, placement) for x in batch} == {strict}
