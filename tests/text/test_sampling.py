import numpy as np
import pytest
from scipy import stats

import nnlib
from nnlib.errors import NonFiniteError, OptionError, ShapeError
from nnlib.models import sample
from nnlib.random import Generator

LOGITS = np.log([0.5, 0.25, 0.15, 0.1]).astype("float32")


def frequencies(**options):
    tokens = sample(nnlib.tensor(np.tile(LOGITS, (20000, 1))), **options).numpy()
    return np.bincount(tokens, minlength=4) / 20000


def test_temperature():
    np.testing.assert_allclose(frequencies(), np.exp(LOGITS), atol=0.015)
    hot = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum()
    np.testing.assert_allclose(frequencies(temperature=2.0), hot, atol=0.015)
    assert frequencies(temperature=0)[0] == 1


def test_only_the_likeliest():
    np.testing.assert_allclose(frequencies(top_k=2), [2 / 3, 1 / 3, 0, 0], atol=0.015)
    np.testing.assert_allclose(frequencies(top_k=9), np.exp(LOGITS), atol=0.015)
    np.testing.assert_allclose(frequencies(top_p=0.7), [2 / 3, 1 / 3, 0, 0], atol=0.015)
    np.testing.assert_allclose(frequencies(top_p=0.76), [5 / 9, 2.5 / 9, 1.5 / 9, 0], atol=0.015)
    assert frequencies(top_p=1e-6)[0] == 1
    assert frequencies(top_k=1)[0] == 1


def test_order_of_the_logits_does_not_matter():
    tokens = sample(nnlib.tensor(np.tile(LOGITS[::-1].copy(), (500, 1))), top_k=1).numpy()
    assert (tokens == 3).all()


def test_every_backend(backend):
    logits = nnlib.tensor(np.tile(LOGITS, (8, 1)), backend=backend)
    tokens = sample(logits, 0.7, top_k=3, top_p=0.9)
    assert tokens.shape == (8,)
    assert set(tokens.numpy()) <= {0, 1, 2}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_k": 2.5},
        {"top_p": 0},
        {"top_p": 2},
    ],
    ids=str,
)
def test_options_are_checked(options):
    with pytest.raises(OptionError):
        sample([[0.0, 1.0]], **options)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.5, "top_k": 5, "top_p": 0.9}], ids=str)
def test_a_million_draws_have_the_exact_distribution(options):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=6).astype("float32")
    p = np.exp(logits.astype("f8") / options.get("temperature", 1.0))
    order = np.argsort(-p)
    p[order[options.get("top_k", 6) :]] = 0
    p /= p.sum()
    if "top_p" in options:
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= options["top_p"]]] = 0
        p /= p.sum()
    rows = nnlib.tensor(np.tile(logits, (125_000, 1)))
    generator = Generator(11)
    counts = np.zeros(6)
    for _ in range(8):
        counts += np.bincount(sample(rows, generator=generator, **options).numpy(), minlength=6)
    assert counts[p == 0].sum() == 0
    possible = p > 0
    assert stats.chisquare(counts[possible], p[possible] * counts.sum()).pvalue > 1e-3


class Words(Generator):
    """A source of given words instead of random ones."""

    def __init__(self, word):
        super().__init__(0)
        self.word = word

    def bits(self, count, backend=None):
        words = backend.xp.full((count,), self.word, dtype="uint32")
        words[::2] = 2**32 - 1 - self.word
        return words


@pytest.mark.parametrize("word", [0, 1, 255, 2**31, 2**32 - 257, 2**32 - 2, 2**32 - 1])
def test_no_word_draws_what_is_excluded(word, backend):
    """Uniform numbers that round to 0 or 1 must not give infinite noise."""
    row = np.where(np.arange(101) < 5, 5.0, 0.0).astype("f4")
    logits = nnlib.tensor(np.stack([row, row]), backend=backend)
    for options in ({"top_k": 5}, {"top_p": 0.5}, {"top_k": 6, "top_p": 0.7}):
        assert sample(logits, generator=Words(word), **options).numpy().max() < 5


def test_equal_logits_leave_exactly_k(backend):
    tokens = sample(nnlib.zeros(4000, 7, backend=backend), top_k=3).numpy()
    assert set(tokens) == {0, 1, 2}
    tokens = sample(nnlib.zeros(4000, 8, backend=backend), top_p=0.5).numpy()
    assert set(tokens) == {0, 1, 2, 3}
    logits = nnlib.tensor(np.tile(np.float32([0, 1, 0, 1, 0, 2]), (4000, 1)), backend=backend)
    assert set(sample(logits, 3.0, top_k=4).numpy()) == {0, 1, 3, 5}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_temperature_may_be_tiny(dtype):
    logits = np.tile(np.asarray([1.0, 3.0, 2.9], dtype), (100, 1))
    for temperature in (1e-6, 1e-40, 5e-324):
        with np.errstate(over="ignore"):
            assert (sample(logits, temperature).numpy() == 1).all()


def test_tokens_may_be_forbidden(backend):
    logits = np.full((1000, 6), -np.inf, np.float32)
    logits[:, [1, 4]] = 0
    for options in ({}, {"top_k": 3}, {"top_p": 0.9}, {"top_k": 1}, {"temperature": 0}):
        tokens = sample(nnlib.tensor(logits, backend=backend), **options).numpy()
        assert set(tokens) <= {1, 4}


@pytest.mark.parametrize("row", [[0.0, np.nan], [np.inf, 0.0], [-np.inf, -np.inf]], ids=str)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_without_a_finite_largest_are_refused(row, temperature):
    with pytest.raises(NonFiniteError, match="finite"):
        sample(np.array([[0.0, 1.0], row], np.float32), temperature)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (2, 0)], ids=str)
def test_shape_is_checked(shape):
    with pytest.raises(ShapeError, match="B, V"):
        sample(np.zeros(shape, np.float32))
