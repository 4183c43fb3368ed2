import pytest

import nnlib
from nnlib.errors import ShapeError


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((2, 3), (4,)), ((5, 2, 3), (4, 3, 2))])
def test_matmul_of_shapes_that_do_not_fit(a, b, backend):
    with pytest.raises(ShapeError, match=r"matmul: ") as caught:
        nnlib.ones(*a) @ nnlib.ones(*b)
    assert f"Received: float32 {a}, float32 {b}" in str(caught.value)


def test_matmul_of_numbers(backend):
    with pytest.raises(ShapeError, match="matmul"):
        nnlib.ones(2, 2) @ nnlib.ones()


def test_dot_of_stacks_points_to_matmul(backend):
    """numpy.dot has its own rule for them, which is not that of ``@``."""
    with pytest.raises(ShapeError, match=r"Received: float32 \(2, 3, 4\).*matmul"):
        nnlib.dot(nnlib.ones(2, 3, 4), nnlib.ones(4, 2))
