"""Derivatives of derivatives: against differences of the first ones, and the same everywhere."""

import numpy as np
import pytest
from ops.table import parameters, rows, tensors

import nnlib
from nnlib.ops.operation import Fused
from nnlib_backends import load_backend

LARGEST = 200  # values to move one by one


CASES = [p for p in parameters(2) if p.values[1].size <= LARGEST]
FUSED = [p for p in CASES if isinstance(p.values[0].function, Fused)]


def prepare(row, case, backend):
    """Return (function, inputs): all first derivatives in a row as a function of the inputs."""
    inputs = tensors(case.draw(), backend)
    places = [i for i, x in enumerate(inputs) if getattr(x, "requires_grad", False)]

    def gradients(*values):
        def loss(*variables):
            arguments = list(inputs)
            for i, variable in zip(places, variables, strict=True):
                arguments[i] = variable
            y = row.function(*arguments, **case.options)
            return (y * y + y).sum()  # so that the slope of y counts, too

        found = nnlib.grad(loss, argnums=tuple(range(len(values))))(*values)
        return nnlib.concatenate([g.flatten() for g in found])

    return gradients, [inputs[i] for i in places]


@pytest.mark.parametrize(("row", "case"), CASES)
def test_second_derivative(row, case):
    assert nnlib.gradcheck(*prepare(row, case, load_backend("numpy")), rtol=1e-6, atol=1e-6)


@pytest.mark.slow  # kernels have no second derivatives of their own: those are the definition's
@pytest.mark.parametrize(("row", "case"), FUSED)
def test_second_derivative_of_the_definition(row, case, monkeypatch):
    backend = load_backend("numpy")
    monkeypatch.setattr(backend, "kernels", {})
    assert nnlib.gradcheck(*prepare(row, case, backend), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("row", rows(2))
def test_second_derivatives_are_the_same_on_every_backend(row, backend):
    for case in row.cases:
        found = []
        for where in (load_backend("numpy"), backend):
            function, inputs = prepare(row, case, where)
            y = function(*inputs)
            if y.requires_grad:  # functions that are linear everywhere leave nothing to derive
                (y * y).sum().backward()
            found.append([None if x.grad is None else x.grad.numpy() for x in inputs])
        for ours, theirs in zip(*found, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-11)
