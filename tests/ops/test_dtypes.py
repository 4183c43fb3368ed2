"""float32 in, float32 throughout: values, gradients, and everything in between."""

import numpy as np
import pytest
from ops.table import rows, tensors
from strict_backend import StrictArray

import nnlib
from nnlib import ops
from nnlib.autograd import engine
from nnlib_backends import dtypes, load_backend

FLOATS = [p for p in rows() if p.values[0].function not in (nnlib.astype, ops.dropout_factor)]


def run(row, backend, dtype):
    """Compute values and gradients; return them."""
    found = []
    for case in row.cases:
        inputs = tensors(case.draw(), backend, dtype=dtype)
        y = row.function(*inputs, **case.options)
        if y.requires_grad:
            y.sum().backward()
        found += [y, *(x.grad for x in inputs if getattr(x, "grad", None) is not None)]
    return found


@pytest.mark.parametrize("kernels", ["kernels", "definition"])
@pytest.mark.parametrize("row", FLOATS)
def test_float32_stays_float32(row, kernels, backend, monkeypatch):
    if kernels == "definition":
        monkeypatch.setattr(backend, "kernels", {})
    raw = []  # what rules and kernels return, before the engine would mend it
    fit = engine._fit
    monkeypatch.setattr(engine, "_fit", lambda g, node: (raw.append(g.dtype), fit(g, node))[1])
    found = run(row, backend, "float32")
    assert "float64" not in [x.dtype for x in found] + raw


@pytest.mark.parametrize("kernels", ["kernels", "definition"])
@pytest.mark.parametrize("row", FLOATS)
def test_nothing_in_between_is_float64(row, kernels, monkeypatch):
    """Except for sums of many numbers, and what every number goes into the next."""
    if row.function in (ops.cumsum, ops.prod):
        pytest.skip("adds up, or multiplies, in float64")
    backend = load_backend("strict")
    monkeypatch.setattr(dtypes, "MANY", float("inf"))
    if kernels == "definition":
        monkeypatch.setattr(backend, "kernels", {})
    make = StrictArray.__init__

    def watch(self, array):
        assert array.dtype != np.float64, f"float64 {array.shape}"
        make(self, array)

    monkeypatch.setattr(StrictArray, "__init__", watch)
    run(row, backend, "float32")


@pytest.mark.parametrize("row", FLOATS)
def test_float64_stays_float64(row, backend):
    for x in run(row, backend, "float64"):
        assert x.dtype == "float64" or x.dtype.kind in "bi"


@pytest.mark.parametrize(
    "function",
    [
        lambda i, f: i.mean(),
        lambda i, f: i / 2,
        lambda i, f: i * 0.5,
        lambda i, f: nnlib.exp(i),
        lambda i, f: nnlib.std(i),
        lambda i, f: i * f,
        lambda i, f: f / i.sum(),
        lambda i, f: f * np.float64(0.1),
        lambda i, f: np.float64(0.1) + f,
        lambda i, f: f * np.int64(3),
        lambda i, f: nnlib.add(f, [1.0, 2.0, 3.0]),
        lambda i, f: nnlib.where(f > 0, 0.1, 0.2),
        lambda i, f: 2**f,
        lambda i, f: nnlib.concatenate([i, f]),
    ],
)
def test_integers_and_python_numbers_make_no_float64(function, backend):
    i, f = nnlib.tensor([1, 2, 3]), nnlib.tensor([0.5, 1.0, 2.0], requires_grad=True)
    y = function(i, f)
    assert y.dtype == "float32"
    if y.requires_grad:
        y.sum().backward()
        assert f.grad.dtype == "float32"


def test_float64_comes_from_float64_only(backend):
    single, double = nnlib.ones(3), nnlib.ones(3, dtype="float64")
    assert (single * double).dtype == "float64"
    assert single.astype("float64").dtype == "float64"
    assert nnlib.tensor([1, 2]).astype("float64").dtype == "float64"
    assert nnlib.mean(nnlib.tensor([1, 2]).astype("float64")).dtype == "float64"


def test_half_precision_is_kept(backend):
    x = nnlib.ones(2, 3, dtype="float16", requires_grad=True)
    y = nnlib.tanh(x * 0.5 + 1).sum()
    y.backward()
    assert (y.dtype, x.grad.dtype) == ("float16", "float16")


def test_gradients_have_their_own_inputs_dtype(backend):
    single = nnlib.ones(3, requires_grad=True)
    double = nnlib.ones(3, dtype="float64", requires_grad=True)
    (single * double).sum().backward()
    assert (single.grad.dtype, double.grad.dtype) == ("float32", "float64")
