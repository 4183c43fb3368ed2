import contextlib
import copy
import gc
import pickle
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlib
from nnlib.data import ArrayDataset, DataLoader, transforms
from nnlib.errors import DataError, NnlibError, OptionError, StateError
from nnlib.random import Generator


def counting(n):
    """A dataset whose rows tell their number."""
    return ArrayDataset(np.arange(n, dtype=np.float32)[:, None], np.arange(n))


def labels(loader):
    """The labels of one epoch, batch by batch."""
    return [y.numpy().tolist() for _, y in loader]


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("nnlib-loader")]


class TestBatches:
    def test_in_order(self):
        loader = DataLoader(counting(5), batch_size=2)
        assert labels(loader) == [[0, 1], [2, 3], [4]]
        assert labels(DataLoader(counting(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
        assert labels(DataLoader(counting(2))) == [[0], [1]]

    def test_part_of_a_large_set_in_each_epoch(self):
        loader = DataLoader(counting(100), 4, shuffle=True, batches_per_epoch=3)
        assert len(loader) == 3
        first, second = labels(loader), labels(loader)
        assert [len(part) for part in (*first, *second)] == [4] * 6
        assert first != second
        assert len(list(loader)) == 3
        assert loader.state_dict()["epoch"] == 3, "the epoch is over"
        assert len(DataLoader(counting(7), 4, batches_per_epoch=9)) == 2
        with pytest.raises(OptionError, match="batches_per_epoch"):
            DataLoader(counting(7), 4, batches_per_epoch=0)

    def test_tensors_of_the_dataset_s_dtypes(self):
        ((x, y),) = DataLoader(counting(3), 3)
        assert isinstance(x, nnlib.Tensor)
        assert (x.shape, x.dtype) == ((3, 1), np.float32)
        assert (y.shape, y.dtype) == ((3,), np.int64)
        assert x.backend is nnlib.get_backend()

    @given(
        n=st.integers(1, 40),
        batch_size=st.integers(1, 45),
        shuffle=st.booleans(),
        drop_last=st.booleans(),
        prefetch=st.sampled_from([0, 0, 1, 3]),
    )
    def test_every_example_once(self, n, batch_size, shuffle, drop_last, prefetch):
        full, rest = divmod(n, batch_size)
        if drop_last and not full:
            with pytest.raises(DataError):
                DataLoader(counting(n), batch_size, drop_last=True)
            return
        loader = DataLoader(counting(n), batch_size, shuffle, drop_last, prefetch=prefetch)
        sizes = [batch_size] * full + ([rest] if rest and not drop_last else [])
        for _ in range(2):
            batches = labels(loader)
            assert [len(batch) for batch in batches] == sizes
            assert len(loader) == len(sizes)
            seen = [number for batch in batches for number in batch]
            assert len(set(seen)) == len(seen) == sum(sizes)
            if not shuffle:
                assert seen == sorted(seen)

    def test_rows_stay_together(self):
        for x, y in DataLoader(counting(20), 3, shuffle=True):
            np.testing.assert_array_equal(x.numpy()[:, 0], y.numpy())

    def test_changing_a_batch_leaves_the_dataset_alone(self):
        data = counting(4)
        for x, _ in DataLoader(data, 4):
            x += 100
        assert data.arrays[0].max() == 3

    def test_dataset_of_one_s_own(self):
        class Squares:
            def __len__(self):
                return 5

            def __getitem__(self, index):
                assert index.dtype == np.int64
                return (index**2,)

        batches = [x.numpy().tolist() for (x,) in DataLoader(Squares(), 2, prefetch=1)]
        assert batches == [[0, 1], [4, 9], [16]]


class TestShuffle:
    def test_another_order_each_epoch(self):
        loader = DataLoader(counting(100), 100, shuffle=True)
        first, second = labels(loader), labels(loader)
        assert first != second
        assert first != [list(range(100))]

    def test_manual_seed_decides(self):
        orders = []
        for seed in (1, 1, 2):
            nnlib.manual_seed(seed)
            loader = DataLoader(counting(100), 100, shuffle=True)
            orders.append([labels(loader), labels(loader)])
        assert orders[0] == orders[1]
        assert orders[0] != orders[2]

    def test_own_generator(self):
        nnlib.manual_seed(0)
        before = nnlib.random.default_generator.state_dict()
        one, other = (
            labels(DataLoader(counting(50), 10, shuffle=True, generator=Generator(3)))
            for _ in range(2)
        )
        assert one == other
        assert nnlib.random.default_generator.state_dict() == before

    def test_other_users_of_random_numbers_do_not_matter(self):
        orders = []
        for disturb in (False, True):
            nnlib.manual_seed(5)
            loader = DataLoader(counting(30), 7, shuffle=True)
            epochs = [labels(loader)]
            if disturb:
                nnlib.rand(1000)
            orders.append([*epochs, labels(loader)])
        assert orders[0] == orders[1]

    def test_a_loader_without_chance_draws_nothing(self):
        nnlib.manual_seed(0)
        before = nnlib.random.default_generator.state_dict()
        labels(DataLoader(counting(3)))
        assert nnlib.random.default_generator.state_dict() == before

    @pytest.mark.parametrize("prefetch", [1, 4])
    def test_prefetch_changes_nothing(self, prefetch):
        augment = transforms.compose(transforms.pad_crop(2), transforms.flip())
        images = np.random.default_rng(0).random((20, 4, 4, 1), dtype=np.float32)
        runs = []
        for ahead in (0, prefetch):
            loader = DataLoader(
                ArrayDataset(images),
                6,
                shuffle=True,
                prefetch=ahead,
                transform=augment,
                generator=Generator(0),
            )
            runs.append([x.numpy() for _ in range(2) for (x,) in loader])
        for one, other in zip(*runs, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_each_batch_and_epoch_is_augmented_differently(self):
        images = np.random.default_rng(0).random((1, 8, 8, 1), dtype=np.float32).repeat(4, axis=0)
        loader = DataLoader(
            ArrayDataset(images), 1, transform=transforms.pad_crop(4), generator=Generator(0)
        )
        seen = {x.numpy().tobytes() for _ in range(3) for (x,) in loader}
        assert len(seen) >= 9  # of 12; 81 windows


class TestState:
    def fresh(self, seed):
        return DataLoader(counting(20), 3, shuffle=True, prefetch=2, generator=Generator(seed))

    @pytest.mark.parametrize("stop_after", [0, 1, 6, 7, 8, 13, 14])
    def test_goes_on_with_the_same_batches(self, stop_after):
        whole = self.fresh(1)
        expected = [batch for _ in range(3) for batch in labels(whole)]

        stopped = self.fresh(1)
        done = []
        while len(done) < stop_after:
            for _, y in stopped:
                done.append(y.numpy().tolist())
                if len(done) == stop_after:
                    break
        state = stopped.state_dict()

        resumed = self.fresh(99)
        resumed.load_state_dict(state)
        while len(done) < len(expected):
            done += labels(resumed)
        assert done == expected

    def test_random_transforms_go_on_too(self):
        images = np.random.default_rng(0).random((9, 4, 4, 1), dtype=np.float32)

        def fresh():
            return DataLoader(ArrayDataset(images), 2, transform=transforms.pad_crop(3))

        whole = fresh()
        expected = [x.numpy() for (x,) in whole]
        resumed = fresh()
        resumed.load_state_dict({"seed": whole.seed, "epoch": 0, "batch": 3})
        rest = [x.numpy() for (x,) in resumed]
        assert len(rest) == 2
        for one, other in zip(rest, expected[3:], strict=True):
            np.testing.assert_array_equal(one, other)

    def test_a_loop_that_was_left_does_not_go_on(self):
        loader = DataLoader(counting(6), 2)
        next(iter(loader))
        assert labels(loader) == [[0, 1], [2, 3], [4, 5]]

    def test_two_loops_at_once_are_two_epochs(self):
        loader = DataLoader(counting(6), 2, shuffle=True)
        pairs = list(zip(loader, loader, strict=True))
        assert len(pairs) == 3
        assert loader.state_dict()["epoch"] == 2

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"seed": 1, "epoch": 0},
            {"seed": 1, "epoch": 0, "batch": 7},
            {"seed": 1, "epoch": -1, "batch": 0},
            {"seed": 1, "epoch": 0, "batch": 0.0},
            {"seed": 1, "epoch": 0, "batch": 0, "more": 1},
        ],
        ids=repr,
    )
    def test_not_a_state(self, state):
        loader = self.fresh(1)
        before = loader.state_dict()
        with pytest.raises(StateError, match="loader of 7 batches"):
            loader.load_state_dict(state)
        assert loader.state_dict() == before


class Slow(ArrayDataset):
    """Counts how many batches were asked for; fails at one of them if told so."""

    def __init__(self, n, fail_at=None):
        super().__init__(np.arange(n))
        self.asked, self.fail_at = 0, fail_at

    def __getitem__(self, index):
        if self.asked == self.fail_at:
            raise KeyError("the disk is gone")
        self.asked += 1
        return super().__getitem__(index)


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestPrefetch:
    def test_prepares_so_many_ahead_and_no_more(self):
        data = Slow(20)
        batches = iter(DataLoader(data, 1, prefetch=3))
        assert data.asked == 0
        next(batches)
        wait_until(lambda: data.asked == 4)
        time.sleep(0.02)
        assert data.asked == 4
        next(batches)
        wait_until(lambda: data.asked == 5)

    @pytest.mark.parametrize("prefetch", [0, 2])
    def test_an_exception_comes_out_where_its_batch_would(self, prefetch):
        loader = DataLoader(Slow(20, fail_at=5), 2, prefetch=prefetch)
        seen = []

        def read():
            for (x,) in loader:
                seen.extend(x.numpy().tolist())

        with pytest.raises(KeyError, match="the disk is gone"):
            read()
        assert seen == list(range(10))
        wait_until(lambda: not loader_threads())

    def test_thread_ends_with_the_epoch(self):
        for _ in DataLoader(counting(9), 2, prefetch=2):
            assert len(loader_threads()) == 1
        assert not loader_threads()

    def test_thread_ends_when_the_loop_is_left(self):
        for _ in DataLoader(counting(9), 2, prefetch=2):
            break
        gc.collect()
        assert not loader_threads()

    def test_thread_ends_when_the_iterator_is_dropped(self):
        batches = iter(DataLoader(counting(9), 2, prefetch=2))
        next(batches)
        assert loader_threads()
        del batches
        gc.collect()
        assert not loader_threads()

    def test_thread_ends_when_the_loop_s_body_raises(self):
        with contextlib.suppress(ZeroDivisionError):
            for _ in DataLoader(counting(9), 2, prefetch=2):
                raise ZeroDivisionError
        gc.collect()
        assert not loader_threads()

    def test_no_thread_without_prefetch(self):
        batches = iter(DataLoader(counting(9), 2))
        next(batches)
        assert not loader_threads()


class TestTransforms:
    def test_first_array_only(self):
        loader = DataLoader(counting(4), 4, transform=lambda x: x * 10)
        ((x, y),) = loader
        np.testing.assert_array_equal(x.numpy()[:, 0], [0, 10, 20, 30])
        np.testing.assert_array_equal(y.numpy(), [0, 1, 2, 3])

    def test_target(self):
        loader = DataLoader(counting(3), 3, target_transform=transforms.one_hot(3))
        ((_, y),) = loader
        np.testing.assert_array_equal(y.numpy(), np.eye(3))

    def test_target_without_a_second_array(self):
        loader = DataLoader(ArrayDataset(np.zeros(3)), target_transform=transforms.one_hot(3))
        with pytest.raises(DataError, match="two arrays"):
            next(iter(loader))


class TestErrors:
    @pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "2", None])
    def test_batch_size(self, batch_size):
        with pytest.raises(OptionError, match="batch_size must be a whole number ≥ 1"):
            DataLoader(counting(3), batch_size)

    @pytest.mark.parametrize("prefetch", [-1, 0.5])
    def test_prefetch(self, prefetch):
        with pytest.raises(OptionError, match="prefetch must be a whole number ≥ 0"):
            DataLoader(counting(3), prefetch=prefetch)

    def test_empty_dataset(self):
        with pytest.raises(DataError, match=r"at least one batch.*0 examples"):
            DataLoader(counting(0))

    def test_nothing_left_by_drop_last(self):
        with pytest.raises(DataError, match="3 examples, batch_size=4, drop_last=True"):
            DataLoader(counting(3), 4, drop_last=True)

    def test_bare_arrays(self):
        with pytest.raises(DataError, match=r"ArrayDataset\(x, y\)"):
            DataLoader((np.zeros(3), np.zeros(3)))

    def test_misspelt_backend(self):
        with pytest.raises(NnlibError, match="numpi"):
            DataLoader(counting(3), backend="numpi")


class TestCopies:
    @pytest.mark.parametrize(
        "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
    )
    @pytest.mark.parametrize("begun", [False, True])
    def test_a_copy_gives_the_same_batches(self, copied, begun):
        loader = DataLoader(counting(20), 3, shuffle=True)
        if begun:
            next(iter(loader))
        twin = copied(loader)
        nnlib.rand(3)
        assert [labels(twin) for _ in range(2)] == [labels(loader) for _ in range(2)]
        assert twin.state_dict() == loader.state_dict()

    def test_a_copy_of_a_loader_without_chance_draws_nothing(self):
        before = nnlib.random.default_generator.state_dict()
        copy.deepcopy(DataLoader(counting(3)))
        assert nnlib.random.default_generator.state_dict() == before

    def test_a_copy_draws_from_the_process_s_stream(self):
        loader = DataLoader(counting(3))
        twin = copy.deepcopy(loader)
        nnlib.manual_seed(1)
        seed = twin.seed
        nnlib.manual_seed(1)
        assert loader.seed == seed
