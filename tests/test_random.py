"""One random stream, the same on every backend."""

import copy
import pickle
import threading
from collections import Counter

import numpy as np
import pytest
from scipy import stats

import nnlib
from nnlib.errors import OptionError, StateError
from nnlib.random import Generator, _normal, default_generator

LARGE = 100_000


def host(array, backend):
    assert backend.owns(array)
    return backend.to_numpy(array)


def test_words_are_the_authors_known_answer(backend):
    """Random123's test vector for key 0 and counter 0."""
    words = host(Generator(0).bits(4), backend)
    assert words.dtype == np.uint32
    assert [hex(word) for word in words] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


def test_uniform_numbers_are_the_upper_24_bits(backend):
    values = host(Generator(0).uniform((4,)), backend)
    words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8])
    np.testing.assert_array_equal(values, (words >> 8).astype(np.float32) / 2**24)


def test_normal_numbers_are_box_and_mullers(backend):
    u, angle = (np.array([0x6627E8, 0xE169C5, 0xBC57AC, 0x9B00DB]) / 2**24).reshape(2, 2)
    radius = np.sqrt(-2 * np.log(u + 2.0**-24))
    expected = [*radius * np.cos(2 * np.pi * angle), *radius * np.sin(2 * np.pi * angle)]
    np.testing.assert_allclose(host(Generator(0).normal((4,)), backend), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: g.uniform((3, 5), -1.0, 2.0),
        lambda g: g.uniform((7,), dtype="float64"),
        lambda g: g.normal((3, 5), 1.0, 2.0),
        lambda g: g.normal((70_001,)),
        lambda g: g.bernoulli((50,), 0.3),
    ],
)
def test_same_numbers_on_every_backend(draw, backend):
    with nnlib.use_backend("numpy"):
        expected = draw(Generator(5))
    ours = host(draw(Generator(5)), backend)
    assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_uniform_distribution():
    x = Generator(1).uniform((LARGE,), -2.0, 3.0)
    assert x.dtype == np.float32
    assert x.min() >= -2
    assert x.max() <= 3
    np.testing.assert_allclose(x.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(x.var(), 25 / 12, rtol=0.01)
    assert stats.kstest(x, stats.uniform(-2, 5).cdf).pvalue > 0.01


@pytest.mark.parametrize("count", [1, 3, 65_535, 65_536, 5 * 65_536 + 7])
def test_a_device_draws_the_same_normal_numbers_in_fewer_calls(count):
    class Device:
        philox_chunk = 1 << 17
        logarithms = 0

        def __getattr__(self, name):
            return getattr(np, name)

        def log(self, x):
            self.logarithms += 1
            return np.log(x)

    device = Device()
    drawn = _normal(device, 3, 5, (count,), 0.5, 2.0, "float32")
    assert drawn.tobytes() == _normal(np, 3, 5, (count,), 0.5, 2.0, "float32").tobytes()
    assert device.logarithms <= 2  # blocks at once, and what is left


def test_normal_distribution():
    x = Generator(2).normal((LARGE,), 1.0, 3.0)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(), 1, atol=0.04)
    np.testing.assert_allclose(x.std(), 3, rtol=0.01)
    np.testing.assert_allclose(stats.skew(x), 0, atol=0.03)
    np.testing.assert_allclose(stats.kurtosis(x), 0, atol=0.06)
    assert stats.kstest(x, stats.norm(1, 3).cdf).pvalue > 0.01


def test_both_halves_of_box_and_muller_are_independent():
    x = Generator(3).normal((2, 1 << 15))  # one block: cosines, then sines
    assert abs(np.corrcoef(x)[0, 1]) < 0.02
    assert abs(np.corrcoef(x**2)[0, 1]) < 0.02


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_neighbouring_seeds_are_unrelated(seed):
    x, y = Generator(seed).uniform((LARGE,)), Generator((seed + 1) % 2**64).uniform((LARGE,))
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.015


@pytest.mark.parametrize("p", [0.0, 0.25, 0.9, 1.0])
def test_bernoulli(p, backend):
    x = host(Generator(4).bernoulli((LARGE,), p), backend)
    assert x.dtype == bool
    if p in (0.0, 1.0):
        assert (x == bool(p)).all()
    assert abs(x.mean() - p) < 0.005


def test_integers():
    x = Generator(5).integers(-3, 4, (LARGE,))
    assert x.dtype == np.int64
    counts = Counter(x.tolist())
    assert sorted(counts) == list(range(-3, 4))
    assert stats.chisquare(list(counts.values())).pvalue > 0.01
    assert Generator(5).integers(0, 2, 3).shape == (3,)
    with pytest.raises(OptionError, match=r"less than high\. Received: 2, 2"):
        Generator(5).integers(2, 2, 1)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation(n):
    order = Generator(6).permutation(n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_are_equally_likely():
    generator = Generator(7)
    counts = Counter(tuple(generator.permutation(4).tolist()) for _ in range(4800))
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_numbers_do_not_repeat_from_call_to_call():
    generator = Generator(8)
    parts = [generator.bits(n) for n in (3, 1, 4, 5)]
    assert len(set(np.concatenate(parts).tolist())) == 13


def test_state_round_trip(backend):
    generator = Generator(9)
    generator.normal((5,))
    state = generator.state_dict()
    first = host(generator.uniform((9,)), backend)
    other = Generator(1)
    other.load_state_dict(state)
    np.testing.assert_array_equal(host(other.uniform((9,)), backend), first)
    assert {type(value) for value in state.values()} == {int}  # fits into JSON
    assert other.state_dict() == generator.state_dict()


def test_manual_seed_starts_the_default_stream_anew(backend):
    nnlib.manual_seed(3)
    first = nnlib.rand(4).tolist()
    assert nnlib.rand(4).tolist() != first
    assert nnlib.manual_seed(3) is default_generator
    assert nnlib.rand(4).tolist() == first


def test_without_a_seed_every_generator_differs():
    assert Generator().bits(4).tolist() != Generator().bits(4).tolist()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed):
    with pytest.raises(OptionError, match=rf"seed must be in 0 … .*Received: {seed}"):
        nnlib.manual_seed(seed)


def test_threads_share_no_numbers():
    generator, found = Generator(10), []
    threads = [
        threading.Thread(
            target=lambda: found.extend(generator.bits(4).tolist() for _ in range(200))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(words) for words in found}) == 800


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"seed": 1},
        {"seed": 1, "offset": 2, "epoch": 3},
        {"seed": 1, "offset": 0.5},
        {"seed": -1, "offset": 0},
        {"seed": 2**64, "offset": 0},
        {"seed": 1, "offset": -1},
    ],
)
def test_a_state_of_another_kind_is_refused_and_changes_nothing(state):
    generator = Generator(3)
    with pytest.raises(StateError, match=r"two integers.*Received: \{"):
        generator.load_state_dict(state)
    assert generator.state_dict() == {"seed": 3, "offset": 0}


def test_half_precision_is_the_rounded_float32_stream(backend):
    half = host(Generator(0).uniform((1000,), -1.0, 2.0, dtype="float16"), backend)
    single = host(Generator(0).uniform((1000,), -1.0, 2.0), backend)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, single.astype(np.float16))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_a_copy_goes_on_from_the_same_position(copied):
    generator = nnlib.random.Generator(5)
    generator.uniform((3,))
    twin = copied(generator)
    before = twin.state_dict()
    assert generator.uniform((4,)).tolist() == twin.uniform((4,)).tolist()
    generator.uniform((4,))
    assert twin.state_dict() != before
    assert twin.state_dict() != generator.state_dict()  # each has a position of its own
