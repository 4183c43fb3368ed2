import numpy as np
import pytest

import nnlib
from nnlib.data import ArrayDataset, DataLoader
from nnlib.random import Generator
from nnlib.train.subsets import Rows, passes, stratified_order


@pytest.mark.parametrize("seed", range(3))
def test_every_beginning_has_the_classes_in_their_shares(seed):
    targets = nnlib.data.digits()[0].arrays[1]
    order = stratified_order(targets, Generator(seed))
    assert sorted(order.tolist()) == list(range(len(targets)))
    share = np.bincount(targets) / len(targets)
    for n in (10, 33, 100, 500, 1000):
        counts = np.bincount(targets[order[:n]], minlength=10)
        assert np.abs(counts - n * share).max() <= 1


def test_shares_are_those_of_the_whole_not_equal_ones():
    targets = np.repeat([0, 1], [900, 100])
    order = stratified_order(targets, Generator(0))
    assert (targets[order[:50]] == 1).sum() == 5


def test_orders_are_random_and_follow_from_the_seed():
    targets = np.arange(400) % 4
    first, again, other = (stratified_order(targets, Generator(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    sequences = {tuple(targets[first[i : i + 4]]) for i in range(0, 400, 4)}
    assert len(sequences) > 1 or tuple(targets[other[:4]]) != tuple(targets[first[:4]])


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 300), np.zeros((300, 5))])
def test_values_to_regress_come_in_random_order(targets):
    order = stratified_order(targets, Generator(0))
    assert sorted(order.tolist()) == list(range(300))
    assert abs(np.corrcoef(order, np.arange(300))[0, 1]) < 0.2


def test_passes_visit_every_row_once_before_any_twice():
    rows = np.array([3, 5, 9, 11])
    found = passes(rows, 10, Generator(0)).reshape(5, 2)
    assert sorted(found[:2].ravel().tolist()) == rows.tolist()
    assert sorted(found[2:4].ravel().tolist()) == rows.tolist()
    long = passes(rows, 4000, Generator(0)).reshape(1000, 4)
    assert len({tuple(order) for order in long.tolist()}) == 24  # all orders there are


def test_rows_are_taken_by_a_loader(backend):
    data = ArrayDataset(np.arange(10.0, dtype=np.float32), np.arange(10)).to(backend)
    loader = DataLoader(Rows(data, np.array([7, 7, 0])), 2)
    assert [y.tolist() for _, y in loader] == [[7, 7], [0]]
