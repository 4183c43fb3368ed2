"""Operations do not mind how many axes an array has, up to NumPy's 64."""

import numpy as np
import pytest
from ops.table import Values, table

import nnlib
from nnlib.errors import NnlibError

AXES = [2, 5, 6, 7, 8, 33, 64]


def rows():
    """Every operation with a case of arrays (3, 4), and options that name no axis but the ends."""
    for row in table():
        for case in row.cases:
            arrays = [x for x in case.inputs if isinstance(x, Values)]
            ends = case.options.get("axis") in (None, 0, -1)
            if ends and any(x.shape == (3, 4) for x in arrays):
                yield pytest.param(row.function, case, id=row.name)
                break


def computed(function, case, axes):
    """Result and gradients of a call whose arrays (3, 4) have so many axes, as flat arrays."""
    inputs = []
    for x in case.draw():
        if isinstance(x, np.ndarray):
            shape = (3, *[1] * (axes - 2), 4) if x.shape == (3, 4) else x.shape
            is_float = x.dtype.kind == "f"
            x = nnlib.tensor(
                x.astype("f4" if is_float else x.dtype).reshape(shape), requires_grad=is_float
            )
        inputs.append(x)
    y = function(*inputs, **case.options)
    parts = y if isinstance(y, tuple | list) else [y]
    for part in parts:
        if isinstance(part, nnlib.Tensor) and part.requires_grad:
            part.sum().backward(retain_graph=True)
    grads = [x.grad for x in inputs if isinstance(x, nnlib.Tensor) and x.grad is not None]
    return [np.ravel(nnlib.tensor(x).detach().numpy()) for x in [*parts, *grads]]


def compared(function, case, axes):
    """Compare with the same numbers on two axes, unless such a shape is refused."""
    expected = computed(function, case, 2)
    try:
        found = computed(function, case, axes)
    except NnlibError:
        return False
    for ours, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-6, atol=1e-6)
    return True


@pytest.mark.parametrize(("function", "case"), list(rows()))
def test_number_of_axes_does_not_matter(function, case):
    for axes in AXES:
        compared(function, case, axes)


def test_most_operations_take_any_number_of_axes():
    taken = [compared(*row.values, axes=64) for row in rows()]
    assert sum(taken) > 50
