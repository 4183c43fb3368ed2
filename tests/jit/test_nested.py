from collections import namedtuple

import numpy as np

import nnlib
from nnlib.jit.nested import flatten, map_leaves


def key(value):
    return flatten(value, [])


def test_the_key_holds_everything_but_the_values():
    x = np.zeros((2, 3), np.float32)
    assert key({"a": [x, 1]}) == key({"a": [x + 1, 1]})
    others = [
        x[0],
        x.astype("f8"),
        nnlib.tensor(x),
        (x,),
        {"b": [x, 1]},
        {"a": [x, 2]},
        1,
        1.0,
        True,
    ]
    assert len({key({"a": [x, 1]}), *map(key, others)}) == 1 + len(others)
    assert key(nnlib.tensor(x)) != key(nnlib.tensor(x, requires_grad=True))


def test_objects_count_by_identity():
    one, other = object(), object()
    assert key([one]) == key([one])
    assert key([one]) != key([other])
    assert hash(key(one)) == hash(key(one))


def test_arrays_are_replaced_in_order():
    Pair = namedtuple("Pair", "first second")
    value = {"a": Pair(np.zeros(1), "word"), "b": [nnlib.ones(2), None]}
    leaves = []
    flatten(value, leaves)
    numbers = iter(range(5))
    assert map_leaves(value, lambda _: next(numbers)) == {"a": Pair(0, "word"), "b": [1, None]}
    assert len(leaves) == 2


def test_arrays_in_slices_are_replaced_in_order():
    first, second = nnlib.tensor(1), nnlib.tensor(2)
    leaves = []
    flatten((slice(first, None), second), leaves)
    numbers = iter(range(2))
    assert len(leaves) == 2
    replaced = map_leaves((slice(first, None), second), lambda _: next(numbers))
    assert replaced == (slice(0, None), 1)
