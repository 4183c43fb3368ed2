"""Calls during a trace that count as reads of the function, and those that do not."""

import gc

import pytest

import nnlib

COLLECTIONS = 0


def count(phase, info):
    """What a profiler may have Python call at each collection."""
    global COLLECTIONS
    COLLECTIONS += 1


class Finalized:
    """Part of a cycle: only a collection finds it."""

    def __init__(self):
        self.cycle = self

    def __del__(self):
        count("", {})


@pytest.fixture
def callback():
    gc.callbacks.append(count)
    yield
    gc.callbacks.remove(count)


def test_what_a_collection_of_garbage_calls_is_no_part_of_the_function(callback):
    calls = []

    @nnlib.compile
    def double(x):
        calls.append(1)
        gc.collect()
        return x + x

    callbacks, before = list(gc.callbacks), COLLECTIONS
    for _ in range(4):
        Finalized()
        double(nnlib.ones(2))
    assert before + 6 <= COLLECTIONS
    assert len(calls) == 2
    assert gc.callbacks == callbacks


def test_a_list_that_only_a_function_inside_grows_is_no_read_of_the_outer_one():
    grown = []

    @nnlib.compile
    def double(x, calls=grown):
        def note():
            calls.append(1)

        note()
        return x + x

    for _ in range(6):
        double(nnlib.ones(2))
    assert len(grown) == 2


class Base:
    factor = 1.0

    @classmethod
    def share(cls):
        return 0.0


class Middle(Base):
    def scale(self, x):
        return x * super().factor + super().share()

    def scale_by_two_arguments(self, x):
        return x * super().factor

    @classmethod
    def made(cls, x):
        return x * super().factor


class Derived(Middle):
    pass


@pytest.mark.parametrize("method", ["scale", "scale_by_two_arguments", "made"])
def test_an_attribute_that_super_finds_is_a_guard(method, monkeypatch):
    owner = Derived()

    @nnlib.compile
    def call(x):
        return getattr(owner, method)(x)

    def compiled(x):
        return call(x).tolist()

    assert [compiled(nnlib.ones(1)) for _ in range(4)] == [[1.0]] * 4
    monkeypatch.setattr(Base, "factor", 3.0)
    assert [compiled(nnlib.ones(1)) for _ in range(4)] == [[3.0]] * 4
    monkeypatch.setattr(Middle, "factor", 5.0, raising=False)  # `super` passes over it
    assert [compiled(nnlib.ones(1)) for _ in range(4)] == [[3.0]] * 4
