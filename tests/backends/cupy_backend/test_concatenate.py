"""Many arrays are joined without a copy from the host, which a graph cannot hold."""

import numpy as np
import pytest
from strict_backend import counting
from strict_backend.graphs import StrictGraphs, StrictPool
from strict_backend.namespace import FIXED, NAMESPACE

import nnlib
from nnlib_backends import load_backend
from nnlib_backends.cupy_backend.concatenate import AT_ONCE, make_joins

RAW = NAMESPACE
COUNTS = [1, 2, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 2 * AT_ONCE + 3]


@pytest.fixture
def strict():
    return load_backend("strict")


def arrays(strict, count, *dtypes, shape=(2, 3, 4)):
    rng = np.random.default_rng(0)
    kinds = [np.dtype(dtypes[i % len(dtypes)]) for i in range(count)]
    host = [(8 * rng.standard_normal(shape)).astype(kind) for kind in kinds]
    return host, [strict.asarray(array) for array in host]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3, None])
@pytest.mark.parametrize("dtypes", [("float32",), ("int32", "float16", "float64")], ids=len)
def test_concatenate(strict, count, axis, dtypes):
    host, device = arrays(strict, count, *dtypes)
    if axis is not None:
        host = [np.take(x, range(i % x.shape[axis]), axis) for i, x in enumerate(host)]
        device = [strict.asarray(x) for x in host]
    expected = np.concatenate(host, axis=axis)
    with counting() as counts:
        result = FIXED.concatenate(device, axis=axis)
    assert counts.transfers == 0
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("axis", [0, 1, 3, -1, -4])
def test_stack(strict, count, axis):
    host, device = arrays(strict, count, "float32")
    with counting() as counts:
        result = FIXED.stack(device, axis=axis)
    assert counts.transfers == 0
    np.testing.assert_array_equal(result.get(), np.stack(host, axis=axis))


def test_out_and_dtype_are_cupys(strict):
    host, device = arrays(strict, 20, "float32")
    out = strict.xp.empty((40, 3, 4), dtype="float32")
    assert FIXED.concatenate(device, out=out) is out
    np.testing.assert_array_equal(out.get(), np.concatenate(host))
    assert FIXED.stack(device, dtype="float64").dtype == np.float64


@pytest.mark.parametrize("count", [2, 20])
def test_shapes_that_do_not_fit_are_refused(strict, count):
    _, device = arrays(strict, count, "float32")
    other = strict.xp.zeros((2, 4, 4), dtype="float32")
    with pytest.raises(ValueError, match=r"dimension|shape"):
        FIXED.concatenate([*device, other])
    with pytest.raises(ValueError, match=r"dimension|shape"):
        FIXED.stack([*device, other])
    with pytest.raises(np.exceptions.AxisError):
        FIXED.concatenate(device, axis=3)


@pytest.mark.parametrize("name", ["concatenate", "stack"])
def test_cupys_own_copy_a_table_of_many_small_arrays(strict, name):
    """As in cupy/_core/_routines_manipulation.pyx; without it the tests here prove nothing."""
    join = getattr(RAW, name)
    for count, dtypes, shape, copies in [
        (8, ["float32"], (2, 3), 0),
        (9, ["float32"], (2, 3), 1),
        (9, ["float32", "float64"], (2, 3), 0),
        (9, ["float32"], (1 << 19,), 0),
        (9, ["float32"], ((1 << 19) - 1,), 1),
    ]:
        _, device = arrays(strict, count, *dtypes, shape=shape)
        with counting() as counts:
            join(device)
        assert counts.transfers == copies
    graphs = StrictGraphs()
    _, device = arrays(strict, 9, "float32")
    with pytest.raises(RuntimeError, match="H2D"):
        graphs.capture(StrictPool(), lambda: join(device))
    ours = dict(zip(("concatenate", "stack"), make_joins(RAW), strict=True))[name]
    graphs.capture(StrictPool(), lambda: ours(device))


def test_a_compiled_step_joins_many(strict):
    def join(x):
        parts = [x * i for i in range(12)]
        return nnlib.concatenate(parts).sum() + nnlib.stack(parts, axis=1).mean()

    with nnlib.use_backend(strict):
        x = nnlib.tensor(np.ones((2, 3), np.float32))
        compiled = nnlib.compile(join)
        results = [compiled(x).item() for _ in range(4)]
    assert results == [join(nnlib.tensor(np.ones((2, 3), np.float32))).item()] * 4
