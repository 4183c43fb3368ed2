"""First derivatives: against central differences in float64, and the same everywhere."""

import numpy as np
import pytest
from ops.table import parameters, rows, tensors

import nnlib
from nnlib.ops.operation import Fused
from nnlib_backends import load_backend

LARGEST = 1000  # values to move one by one; `test_conformance` looks at larger ones, too
CASES = [
    pytest.param(*p.values, id=p.id, marks=pytest.mark.slow if p.values[1].size > LARGEST else ())
    for p in parameters(1)
]


def check(row, case, backend):
    """Compare with central differences, to 1e-6."""
    inputs = tensors(case.draw(), backend)
    recorded = [x for x in inputs if isinstance(x, nnlib.Tensor) and x.requires_grad]

    def function(*values):
        replaced = iter(values)
        return row.function(
            *(next(replaced) if any(x is y for y in recorded) else x for x in inputs),
            **case.options,
        )

    assert nnlib.gradcheck(function, recorded, rtol=1e-6, atol=1e-6)


def gradients(row, case, backend, how):
    """Return the gradients by all inputs of some function of the result."""
    inputs = tensors(case.draw(), backend, how)
    y = row.function(*inputs, **case.options)
    g = np.cos(np.arange(y.size) * 1.7).reshape(y.shape)
    y.backward(nnlib.tensor(g, dtype=y.dtype, backend=backend))
    leaves = [x for x in inputs if isinstance(x, nnlib.Tensor) and x.requires_grad]
    return [None if x.grad is None else x.grad.numpy() for x in leaves]


@pytest.mark.parametrize(("row", "case"), CASES)
def test_gradient(row, case):
    check(row, case, load_backend("numpy"))


@pytest.mark.parametrize("row", rows(1))
def test_gradients_are_the_same_on_every_backend(row, backend):
    """By inputs in a row and by inputs spread over memory."""
    for case in row.cases:
        expected = gradients(row, case, load_backend("numpy"), "rows")
        for how in ("rows", "strided"):
            for ours, right in zip(gradients(row, case, backend, how), expected, strict=True):
                assert (ours is None) == (right is None)
                if right is not None:
                    assert (ours.shape, ours.dtype) == (right.shape, right.dtype)
                    np.testing.assert_allclose(ours, right, rtol=1e-9, atol=1e-11)


@pytest.mark.slow  # `test_conformance` compares definitions with the kernels tested above
@pytest.mark.parametrize(
    ("row", "case"), [p for p in parameters(1) if isinstance(p.values[0].function, Fused)]
)
def test_gradient_of_the_definition(row, case, monkeypatch):
    backend = load_backend("numpy")
    monkeypatch.setattr(backend, "kernels", {})
    check(row, case, backend)


@pytest.mark.parametrize(("row", "case"), [p for p in parameters() if not p.values[0].derivatives])
def test_what_has_no_derivative_is_not_recorded(row, case, backend):
    assert not row.function(*tensors(case.draw(), backend), **case.options).requires_grad
