import numpy as np
import pytest

import nnlib
from nnlib.ops.indexing import add_at
from nnlib_backends.numpy_backend.kernels import slicing

put = slicing.PRIMITIVES["add_at"].forward
ALL = slice(None)


def expected(values, key, shape):
    y = np.zeros(shape, np.float32)
    y[key] = values
    return y


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    """So many threads, whatever the size."""
    monkeypatch.setattr(slicing, "split", lambda items, least=1: min(request.param, items))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((7,), 3),
        ((7,), slice(2, -1)),
        ((3, 5), (ALL, -1)),
        ((3, 5), slice(3, 3)),
        ((3, 5), slice(4, 2)),
        ((4, 5, 6), 2),
        ((4, 5, 6), (ALL, slice(1, 4))),
        ((4, 5, 6), (slice(0, 4), 0)),
        ((4, 5, 33), (ALL, ALL, slice(30, 99))),
        ((2, 70, 1025), (ALL, -1)),
    ],
    ids=str,
)
def test_same_bits_as_numpy(shape, key):
    values = np.sin(np.arange(np.zeros(shape)[key].size, dtype=np.float32))
    values = values.reshape(np.zeros(shape)[key].shape)
    found = put(values, key=key, shape=shape)
    np.testing.assert_array_equal(found, expected(values, key, shape))
    assert found.dtype == np.float32


def test_values_of_any_layout():
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T
    found = put(values, key=(ALL, 1), shape=(4, 5, 3))
    np.testing.assert_array_equal(found, expected(values, (ALL, 1), (4, 5, 3)))


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((3, 5), (1, slice(1, 3))),  # two axes
        ((3, 5), (1, 2)),
        ((3, 5), (..., 1)),
        ((3, 5), (None, 1)),
        ((3, 5), slice(None, None, 2)),
        ((3, 5), slice(None, None, -1)),
        ((3, 5), (ALL, ALL)),
        ((3, 5), np.array([0, 0])),
        ((3, 5), True),
        ((3, 0), 1),
    ],
    ids=str,
)
def test_what_it_is_not_for_is_numpys(shape, key):
    values = np.ones_like(np.zeros(shape, np.float32)[key])
    assert put(values, key=key, shape=shape) is NotImplemented
    if key is not True:
        x = nnlib.zeros(*shape, requires_grad=True)
        x[key].sum().backward()
        wanted = np.zeros(shape, np.float32)
        np.add.at(wanted, key, 1)
        np.testing.assert_array_equal(x.grad.numpy(), wanted)


def test_other_numbers_are_numpys():
    values = np.ones(3)
    assert put(values, key=(ALL, 0), shape=(3, 4)) is NotImplemented
    assert add_at(values, key=(ALL, 0), shape=(3, 4)).dtype == np.float64
