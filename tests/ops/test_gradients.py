"""First derivatives against central differences, 1e-6 in float64."""

import pytest
from ops.table import parameters, tensors

import nnlib
from nnlib.ops.operation import Fused
from nnlib_backends import load_backend


def check(row, case, backend, how):
    inputs = tensors(case.draw(), backend, how)
    recorded = [x for x in inputs if isinstance(x, nnlib.Tensor) and x.requires_grad]

    def function(*values):
        replaced = iter(values)
        return row.function(
            *(next(replaced) if any(x is y for y in recorded) else x for x in inputs),
            **case.options,
        )

    assert nnlib.gradcheck(function, recorded, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("row", "case"), parameters(1))
def test_gradient(row, case, backend):
    check(row, case, backend, "rows")


@pytest.mark.parametrize(("row", "case"), parameters(1))
def test_gradient_by_inputs_spread_over_memory(row, case):
    check(row, case, load_backend("numpy"), "strided")


@pytest.mark.parametrize(
    ("row", "case"), [p for p in parameters(1) if isinstance(p.values[0].function, Fused)]
)
def test_gradient_of_the_definition(row, case, monkeypatch):
    backend = load_backend("numpy")
    monkeypatch.setattr(backend, "kernels", {})
    check(row, case, backend, "strided")


@pytest.mark.parametrize(("row", "case"), [p for p in parameters() if not p.values[0].derivatives])
def test_what_has_no_derivative_is_not_recorded(row, case, backend):
    assert not row.function(*tensors(case.draw(), backend), **case.options).requires_grad
