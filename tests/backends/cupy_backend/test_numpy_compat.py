"""CuPy's functions are as NumPy's, once they are mended."""

import itertools
from functools import partial

import emulation
import numpy as np
import pytest
from strict_backend.kernels import capturing
from strict_backend.namespace import FIXED, NAMESPACE

import nnlib
from nnlib_backends import load_backend
from nnlib_backends.cupy_backend.kernels.launch import Launcher
from nnlib_backends.cupy_backend.kernels.sorting import sort_indices
from nnlib_backends.cupy_backend.numpy_compat import make_functions
from nnlib_backends.dtypes import scattered
from nnlib_backends.numpy_backend import namespace

DTYPES = ["float16", "bfloat16", "float32", "float64"]

CALLS = {
    "clip": lambda xp, x: xp.clip(x, -1, 1),
    "clip, one bound": lambda xp, x: xp.clip(x, None, 1),
    "clip, into": lambda xp, x: xp.clip(x, -1, 1, xp.zeros(x.shape, dtype=x.dtype)),
    "erf": lambda xp, x: xp.erf(x),
    "ndtr": lambda xp, x: xp.ndtr(x),
    "round": lambda xp, x: xp.round(x, 1),
    "sort": lambda xp, x: xp.sort(x, axis=-1),
    "argsort": lambda xp, x: xp.argsort(x, axis=-1),
    "where": lambda xp, x: xp.where(x > 0, x, -x),
    "where, a number": lambda xp, x: xp.where(x > 0, x, 0),
    "where, a fraction": lambda xp, x: xp.where(x > 0, x, 0.0),
    "where, wider": lambda xp, x: xp.where(x > 0, x, x.astype("float64")),
    "where, indices": lambda xp, x: xp.where(x[0] > 0)[0],
    "vdot": lambda xp, x: xp.vdot(x, x),
    "floor_divide": lambda xp, x: xp.floor_divide(x, x[::-1]),
    "remainder": lambda xp, x: xp.remainder(x, x[::-1]),
}


def dtype_of(name):
    return np.dtype(getattr(pytest.importorskip("ml_dtypes"), name, name))


@pytest.fixture(params=["strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request):
    return load_backend(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_dtype_and_values_are_numpys(name, dtype, backend):
    x = (np.random.default_rng(0).normal(size=(4, 5)) * 2).astype(dtype_of(dtype))
    theirs = np.asarray(CALLS[name](namespace, x))
    ours = backend.to_numpy(CALLS[name](backend.xp, backend.asarray(x)))
    if (name, dtype) == ("where, a fraction", "bfloat16"):  # NumPy's float64 would have no use
        theirs = theirs.astype("float32")
    if name in {"erf", "ndtr"}:  # SciPy's float64 likewise
        theirs = theirs.astype(x.dtype)
    limit = {"float16": 2e-3, "bfloat16": 3e-2}.get(dtype, 1e-6)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), limit, limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_division_is_exact(name, dtype, backend):
    special = [0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 5.0, 6.0, -7.5, 1e10, np.inf, -np.inf, np.nan]
    a, b = np.array(list(itertools.product(special, special)), dtype).T
    with np.errstate(all="ignore"):
        theirs = getattr(np, name)(a, b)
    ours = getattr(backend.xp, name)(backend.asarray(a), backend.asarray(b))
    ours = backend.to_numpy(ours)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)
    numbers = ~np.isnan(ours)
    np.testing.assert_array_equal(np.signbit(ours)[numbers], np.signbit(theirs)[numbers])
    integers = backend.asarray(np.array([7, -7, 0]))
    theirs = getattr(np, name)(np.array([7, -7, 0]), 3)
    assert getattr(backend.xp, name)(integers, 3).tolist() == theirs.tolist()


@pytest.mark.parametrize("count", [60, 600])  # few are added in float32, many in float64
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_at_repeated_places_are_the_same_each_time(dtype, count, backend):
    rng = np.random.default_rng(1)
    values = (rng.normal(size=(count, 3)) * 10.0 ** rng.integers(-3, 3, (count, 1))).astype(
        dtype_of(dtype)
    )
    places = rng.integers(0, 7, count)
    right = np.zeros((9, 3))
    np.add.at(right, places, values.astype("float64"))
    found = [
        backend.to_numpy(
            scattered(backend.xp, (9, 3), backend.asarray(places), backend.asarray(values))
        )
        for _ in range(3)
    ]
    assert found[0].dtype == dtype_of(dtype)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()
    limit = {"float16": 1e-3, "bfloat16": 4e-3, "float32": 1e-6}.get(dtype, 1e-14)
    size = np.zeros_like(right)
    np.add.at(size, places, np.abs(values.astype("float64")))
    assert (np.abs(found[0].astype("float64") - right) <= limit * size).all()


def test_a_sum_has_nothing_of_its_neighbours():
    values = FIXED.asarray(np.array([np.inf, 1, np.nan, 2, -np.inf, 3], "float32"))
    key = (FIXED.asarray(np.array([0, 1, 2, 1, 0, -1])),)
    total = scattered(FIXED, (4,), key, values)
    np.testing.assert_array_equal(total.get(), np.array([np.nan, 3, np.nan, 3], "float32"))


def test_nothing_is_added_at_no_place():
    empty = FIXED.asarray(np.zeros(0, np.int64))
    assert scattered(FIXED, (2,), empty, FIXED.zeros(0)).tolist() == [0, 0]


def test_additions_can_be_captured():
    places, values = FIXED.asarray(np.array([1, 1, 0])), FIXED.asarray(np.ones(3, "float32"))
    with capturing() as graph:
        total = scattered(FIXED, (2,), places, values)
    values[2] = 5.0
    graph.launch()
    assert total.tolist() == [5, 2]


@pytest.mark.skipif(emulation.missing_compiler() != "", reason=emulation.missing_compiler())
def test_places_are_sorted_by_the_kernels():
    launcher = Launcher(NAMESPACE, emulation.EmulatedDriver())
    add_at = make_functions(NAMESPACE, NAMESPACE, partial(sort_indices, launcher))["add_at"]
    places = np.random.default_rng(2).integers(0, 300, 1000)
    total = NAMESPACE.zeros(300, dtype="float32")
    add_at(total, NAMESPACE.asarray(places), NAMESPACE.ones(1000, dtype="float32"))
    assert total.tolist() == np.bincount(places, minlength=300).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_an_index_that_names_a_row_twice(dtype, backend):
    x = nnlib.tensor(np.zeros((3, 2), dtype_of(dtype)), backend=backend, requires_grad=True)
    places = nnlib.tensor(np.array([2, 0, 2]), backend=backend)
    x[places].backward(nnlib.tensor(np.ones((3, 2), dtype_of(dtype)), backend=backend))
    assert x.grad.dtype == dtype_of(dtype)
    assert x.grad.tolist() == [[1, 1], [0, 0], [2, 2]]
