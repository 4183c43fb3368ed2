import itertools
import re

import numpy as np
import pytest

from nnlib.data import REBER_SYMBOLS, embedded_reber, reber_dataset, reber_successors
from nnlib.errors import DataError, OptionError


def matches(string):
    """Whether a string is of the embedded grammar, by regular expressions for the inner one.

    From the lower node 3, a loop of T and a V lead to node 5; from there V ends, or P goes to node
    4, where X goes back to node 3 and S ends.
    """
    lower = r"T*V(?:PXT*V)*(?:V|PS)"
    upper = rf"S*X(?:S|X{lower})"
    return re.fullmatch(rf"B([TP])B(?:T{upper}|P{lower})E\1E", string) is not None


def test_strings_are_of_the_grammar():
    strings = embedded_reber(2000, seed=5)
    assert len(strings) == 2000
    assert all(map(matches, strings))
    assert min(map(len, strings)) == 9


def test_the_expression_knows_what_is_not():
    for string in ("BTBTXSEPE", "BTBTXSET", "BTBTSEXTE", "BTBPVPTVVETE", "BTBTXTVVETE"):
        assert not matches(string)


def test_either_way_is_taken_as_often():
    strings = embedded_reber(10_000, seed=1)
    for place in (1, 3):
        share = np.mean([string[place] == "T" for string in strings])
        assert abs(share - 0.5) < 0.02
    longer = np.mean([string[4] == "S" for string in strings if string[3] == "T"])
    assert abs(longer - 0.5) < 0.03


def test_every_string_of_the_grammar_is_drawn():
    """Of those with up to eleven symbols, which the expression finds among all combinations."""
    inner = ("".join(s) for n in (5, 6, 7) for s in itertools.product("TPSXV", repeat=n - 2))
    wanted = {
        string
        for middle in inner
        for outer in "TP"
        if matches(string := f"B{outer}B{middle}E{outer}E")
    }
    drawn = {string for string in embedded_reber(3000) if len(string) <= 11}
    assert drawn == wanted


def test_seed_and_exclusion():
    train = embedded_reber(256, seed=0)
    assert train == embedded_reber(256, seed=0)
    test = embedded_reber(256, seed=1, exclude=train)
    assert len(test) == 256
    assert not set(train) & set(test)
    assert set(train) & set(embedded_reber(256, seed=1))  # it would have been so


def test_arrays():
    strings = embedded_reber(50, seed=2)
    x, steps, target = reber_dataset(strings, length=60).arrays
    assert (x.shape, x.dtype, target.dtype) == ((50, 60, 7), np.float32, np.int64)
    for row, string in enumerate(strings):
        n = int(steps[row])
        read = "".join(REBER_SYMBOLS[i] for i in x[row, :n].argmax(axis=-1))
        following = "".join(REBER_SYMBOLS[i] for i in target[row, :n])
        assert read + "E" == string == "B" + following
        assert (x[row, :n].sum(axis=-1) == 1).all()
        assert (x[row, n:] == 0).all()
        assert (target[row, n:] == -100).all()


def test_successors_are_what_the_grammar_can_go_on_with():
    """A symbol is allowed if some string of the grammar begins so, by a large sample."""
    sample = embedded_reber(20_000, seed=9)
    prefixes = {string[:k] for string in sample for k in range(len(string) + 1)}
    strings = [string for string in embedded_reber(30, seed=4) if len(string) <= 12]
    allowed = reber_successors(strings)
    for row, string in zip(allowed, strings, strict=True):
        for k in range(1, len(string)):
            expected = {symbol for symbol in REBER_SYMBOLS if string[:k] + symbol in prefixes}
            assert {s for s, a in zip(REBER_SYMBOLS, row[k - 1], strict=True) if a} == expected
        assert not row[len(string) - 1 :].any()


@pytest.mark.parametrize("string", ["", "B", "BT", "BTBTXSEPE", "BTBTXSETEE", "BTBVXSETE", "bt"])
@pytest.mark.parametrize("function", [reber_dataset, reber_successors])
def test_other_strings_are_refused(function, string):
    with pytest.raises(DataError, match="grammar"):
        function(["BTBTXSETE", string])


def test_arguments_are_checked():
    with pytest.raises(OptionError, match="count"):
        embedded_reber(0)
    with pytest.raises(DataError, match="there must be strings"):
        reber_dataset([])
    with pytest.raises(DataError, match="length at least 8"):
        reber_successors(["BTBTXSETE"], length=7)
