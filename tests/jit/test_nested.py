from collections import namedtuple

import numpy as np

import nnlib
from nnlib.jit.nested import rebuilt, take_apart


def rest(value):
    return take_apart(value, [])


def test_the_rest_says_everything_but_the_values():
    x = np.zeros((2, 3), np.float32)
    assert rest({"a": [x, 1]}) == rest({"a": [x + 1, 1]})
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
    assert len({rest({"a": [x, 1]}), *map(rest, others)}) == 1 + len(others)
    assert rest(nnlib.tensor(x)) != rest(nnlib.tensor(x, requires_grad=True))


def test_objects_count_by_identity():
    one, other = object(), object()
    assert rest([one]) == rest([one])
    assert rest([one]) != rest([other])
    assert hash(rest(one)) == hash(rest(one))


def test_arrays_are_replaced_in_order():
    Pair = namedtuple("Pair", "first second")
    value = {"a": Pair(np.zeros(1), "word"), "b": [nnlib.ones(2), None]}
    leaves = []
    take_apart(value, leaves)
    numbers = iter(range(5))
    assert rebuilt(value, lambda _: next(numbers)) == {"a": Pair(0, "word"), "b": [1, None]}
    assert len(leaves) == 2


def test_arrays_in_slices_are_replaced_in_order():
    first, second = nnlib.tensor(1), nnlib.tensor(2)
    leaves = []
    take_apart((slice(first, None), second), leaves)
    numbers = iter(range(2))
    assert len(leaves) == 2
    replaced = rebuilt((slice(first, None), second), lambda _: next(numbers))
    assert replaced == (slice(0, None), 1)
