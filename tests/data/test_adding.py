import numpy as np
import pytest

from nnlib.data import DataLoader, adding_problem
from nnlib.errors import OptionError


@pytest.mark.parametrize("length", [20, 55, 100])
def test_every_sequence_is_as_the_paper_says(length):
    """Read step by step, as a person would."""
    x, steps, target = adding_problem(400, length, seed=3).arrays
    assert (x.dtype, steps.dtype, target.dtype) == (np.float32, np.int64, np.float32)
    assert x.shape == (400, length + length // 10, 2)
    for sequence, n, wanted in zip(x.tolist(), steps.tolist(), target.tolist(), strict=True):
        assert length <= n <= length + length // 10
        marked = [t for t in range(n) if sequence[t][1] == 1]
        if len(marked) == 2:
            assert marked[0] < 10
        else:  # the first step was chosen
            assert len(marked) == 1
            assert sequence[0][0] == 0
        assert n - marked[-1] > length / 2  # steps from there to the answer, both included
        assert sequence[0][1] == sequence[n - 1][1] == -1
        assert [t for t in range(n) if sequence[t][1] != 0] == sorted({0, n - 1, *marked})
        assert all(-1 <= value <= 1 for value, _ in sequence)
        assert all(step == [0, 0] for step in sequence[n:])
        assert wanted[0] == pytest.approx(0.5 + sum(sequence[t][0] for t in marked) / 4, abs=1e-6)


def test_places_and_values_are_spread_evenly():
    x, steps, _ = adding_problem(20_000, 40, seed=0).arrays
    marked = [np.flatnonzero(row[:, 1] == 1) for row in x]
    counts = np.bincount(np.concatenate(marked), minlength=20)
    # X1 is at any of the first ten places, X2 at any of the others up to T/2 − 1
    late = counts[10:20]
    assert counts[0] == 0
    assert counts[20:].sum() == 0
    assert abs(late - 20_000 / 19).max() < 5 * np.sqrt(20_000 / 19)
    assert abs(counts[1:10] - 20_000 * (1 / 10 + 9 / 10 / 19)).max() < 5 * np.sqrt(3000)
    assert set(steps) == {40, 41, 42, 43, 44}
    assert abs(x[:, 1:40, 0].mean()) < 0.01
    assert abs(x[:, 1:40, 0].var() - 1 / 3) < 0.01


def test_a_seed_gives_the_same_sequences():
    first, again, other = (adding_problem(5, 30, seed) for seed in (7, 7, 8))
    for a, b, c in zip(first.arrays, again.arrays, other.arrays, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_batches(backend):
    x, steps, target = next(iter(DataLoader(adding_problem(5, 30), batch_size=3)))
    assert (x.shape, steps.shape, target.shape) == ((3, 33, 2), (3,), (3, 1))


@pytest.mark.parametrize(("count", "length"), [(0, 100), (1, 19)])
def test_arguments_are_checked(count, length):
    with pytest.raises(OptionError, match="at least"):
        adding_problem(count, length)
