import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlib
from nnlib.data import CharTokenizer, DataLoader, PairDataset, PairLoader, ParallelText
from nnlib.errors import DataError, OptionError
from nnlib.random import Generator


def pairs(n, seed=0):
    """Pairs of different lengths; every source begins with its number."""
    rng = np.random.default_rng(seed)
    return [
        ([100 + i, *range(3, 3 + rng.integers(0, 20))], list(range(3, 3 + rng.integers(1, 20))))
        for i in range(n)
    ]


def test_rows():
    dataset = PairDataset([([5, 6], [7, 8, 9]), ([4] * 5, [3])], multiple=4)
    assert dataset.lengths.tolist() == [4, 8]
    source, target_in, target_out = dataset[np.array([1, -1, 0])]
    assert source.dtype == np.int64
    np.testing.assert_array_equal(
        source, [[4, 4, 4, 4, 4, 2, 0, 0], [0] * 8, [5, 6, 2, 0, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        target_in, [[1, 3, 0, 0, 0, 0, 0, 0], [0] * 8, [1, 7, 8, 9, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        target_out, [[3, 2, 0, 0, 0, 0, 0, 0], [0] * 8, [7, 8, 9, 2, 0, 0, 0, 0]]
    )
    other = PairDataset([([5], [7])], padding=9, start=8, end=7, multiple=3)
    assert [a.tolist() for a in other[[0]]] == [[[5, 7, 9]], [[8, 7, 9]], [[7, 7, 9]]]


def test_of_text():
    text = ParallelText(("ab", "abab", "b"), ("aa", "b", "abab"))
    letters = CharTokenizer("_^$ab")
    assert len(PairDataset.of_text(text, letters)) == 3
    dataset = PairDataset.of_text(text, letters, longest=4, multiple=1)
    assert len(dataset) == 1
    assert [a.tolist() for a in dataset[[0]]] == [[[3, 4, 2]], [[1, 3, 3]], [[3, 3, 2]]]


@given(n=st.integers(1, 40), tokens=st.integers(1, 200), shuffle=st.booleans())
def test_every_pair_once_in_few_shapes(n, tokens, shuffle):
    dataset = PairDataset(pairs(n), multiple=8)
    loader = PairLoader(dataset, tokens, shuffle)
    for _ in range(2):
        batches = [[a.numpy() for a in batch] for batch in loader]
        assert len(batches) == len(loader)
        first = np.concatenate([source[:, 0] for source, _, _ in batches])
        assert sorted(first[first > 0]) == [100 + i for i in range(n)]
        shapes = {source.shape for source, _, _ in batches}
        assert len({length for _, length in shapes}) == len(shapes)
        for batch in batches:
            assert len({a.shape for a in batch}) == 1
            rows, length = batch[0].shape
            assert length % 8 == 0
            assert rows == max(1, tokens // length)
            assert ((batch[0] == 0).all(axis=1) == (batch[2] == 0).all(axis=1)).all()


def test_order_follows_from_the_seed():
    def epochs(seed, count=2, loader=None):
        dataset = PairDataset(pairs(30))
        loader = loader or PairLoader(dataset, 64, True, generator=Generator(seed))
        return [[b[0].numpy().tolist() for b in loader] for _ in range(count)]

    one, two = epochs(3)
    assert one != two
    assert epochs(3) == [one, two]
    assert epochs(4)[0] != one
    loader = PairLoader(PairDataset(pairs(30)), 64, True, generator=Generator(3))
    iterator = iter(loader)
    for _ in range(4):
        next(iterator)
    other = PairLoader(PairDataset(pairs(30)), 64, True, generator=Generator(9))
    other.load_state_dict(loader.state_dict())
    assert epochs(0, 2, other) == [one[4:], two]


def test_on_every_backend(backend):
    (batch, *_) = PairLoader(PairDataset(pairs(4)), 64, prefetch=1)
    assert all(a.backend is backend for a in batch)


def test_in_the_trainer():
    """Two inputs and a target; padding rows count for nothing."""

    class Echo(nnlib.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nnlib.nn.Embedding(130, 30)

        def forward(self, source, target):
            return self.table(target) + self.table(source)

    model = Echo()
    loss = nnlib.nn.CrossEntropyLoss(ignore_index=0)
    trainer = nnlib.Trainer(
        model, loss, nnlib.optim.Adam(model.parameters(), lr=0.1), progress=False
    )
    history = trainer.fit(PairLoader(PairDataset(pairs(20)), 128, shuffle=True), epochs=3)
    assert history["loss"][-1] < history["loss"][0] / 2


def test_options_are_checked():
    with pytest.raises(DataError, match="none"):
        PairDataset([])
    with pytest.raises(OptionError, match="multiple"):
        PairDataset(pairs(2), multiple=0)
    with pytest.raises(OptionError, match="tokens"):
        PairLoader(PairDataset(pairs(2)), 0)
    assert isinstance(PairLoader(PairDataset(pairs(2))), DataLoader)
