"""What operations compute, against NumPy and SciPy in float64, on every backend."""

import numpy as np
import pytest
from ops.table import parameters, rows, tensors

import nnlib


@pytest.mark.parametrize("how", ["rows", "strided"])
@pytest.mark.parametrize(("row", "case"), parameters())
def test_value(row, case, how, backend):
    drawn = case.draw()
    expected = row.reference(*drawn, **case.options)
    with nnlib.no_grad():
        result = row.function(*tensors(drawn, backend, how), **case.options)
    assert isinstance(result, nnlib.Tensor)
    assert backend.owns(result.data)
    assert result.shape == np.shape(expected)
    assert result.dtype.kind == np.asarray(expected).dtype.kind
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("row", rows())
def test_bare_arrays_give_bare_arrays(row, backend):
    """Without a tensor among its arguments an operation is a function of the backend's arrays."""
    for case in row.cases:
        arrays = [backend.asarray(x) if isinstance(x, np.ndarray) else x for x in case.draw()]
        result = row.function(*arrays, **case.options)
        assert not isinstance(result, nnlib.Tensor)
        found = backend.to_numpy(backend.asarray(result))
        expected = row.reference(*case.draw(), **case.options)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("row", rows())
def test_arguments_stay_as_they_were(row, backend):
    for case in row.cases:
        drawn = case.draw()
        inputs = tensors(drawn, backend)
        result = row.function(*inputs, **case.options)
        if result.requires_grad:
            result.sum().backward()
        for before, after in zip(drawn, inputs, strict=True):
            if isinstance(before, np.ndarray):
                np.testing.assert_array_equal(after.numpy(), before)
