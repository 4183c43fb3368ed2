"""Philox4x32-10 against its authors' known answers, and the same stream everywhere."""

import numpy as np
import pytest

from nnlib_backends.common import philox
from nnlib_backends.common.philox import philox4x32

# Random123's kat_vectors: counter, key, words.
KNOWN = {
    "zeros": (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    "ones": (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    "pi": (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
}


def numbers(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("vector", KNOWN.values(), ids=KNOWN)
def test_known_answer(vector, backend):
    counter, key, expected = map(numbers, vector)
    lanes = tuple(backend.asarray(np.array([lane], np.uint64)) for lane in counter)
    words = philox._rounds(backend.xp, key[0] | key[1] << 32, lanes)
    assert [int(word[0]) for word in words] == expected


def test_counter_goes_on_behind_32_bits():
    """Counter 2**32 differs from counter 0 in its second lane only."""
    words = philox4x32(np, 7, 2**32, 4)
    zero, one = np.zeros(1, np.uint64), np.ones(1, np.uint64)
    expected = np.concatenate(philox._rounds(np, 7, (zero, one, zero, zero)))
    assert words.tolist() == expected.tolist()
    assert words.tolist() != philox4x32(np, 7, 0, 4).tolist()


def test_every_part_of_the_stream_is_the_same(backend):
    whole = backend.to_numpy(philox4x32(backend.xp, 42, 0, 1000))
    assert whole.dtype == np.uint32
    for offset, count in ((0, 1), (1, 4), (3, 17), (100, 600), (249, 4)):
        part = backend.to_numpy(philox4x32(backend.xp, 42, offset, count))
        np.testing.assert_array_equal(part, whole[4 * offset : 4 * offset + count])


def test_chunks_do_not_show(monkeypatch):
    whole = philox4x32(np, 5, 11, 100)
    monkeypatch.setattr(philox, "_CHUNK", 3)
    np.testing.assert_array_equal(philox4x32(np, 5, 11, 100), whole)


def test_all_backends_have_the_same_stream(backend):
    seed = 2**63 + 12345
    expected = philox4x32(np, seed, 2**33 + 5, 10_000)
    actual = backend.to_numpy(philox4x32(backend.xp, seed, 2**33 + 5, 10_000))
    np.testing.assert_array_equal(actual, expected)


def test_no_words(backend):
    assert philox4x32(backend.xp, 1, 0, 0).shape == (0,)


def test_words_look_random():
    words = philox4x32(np, 1, 0, 1 << 18)
    unit = words / 2.0**32
    assert abs(unit.mean() - 0.5) < 3e-3
    assert abs(np.corrcoef(unit[:-1], unit[1:])[0, 1]) < 8e-3
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 4), axis=1).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 6e-3
    assert not np.array_equal(words, philox4x32(np, 2, 0, 1 << 18))
