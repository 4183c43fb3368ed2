import numpy as np
import pytest

from nnlib import ops
from nnlib_backends.numpy_backend.kernels.arithmetic import PRIMITIVES


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("shape", [(1,), (33,), (3, 5), (2, 1023), (70, 1025), (0, 3)])
def test_same_bits_as_numpy(name, shape):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    a.flat[:1], b.flat[1:2] = np.nan, np.inf
    np.testing.assert_array_equal(PRIMITIVES[name].forward(a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_what_it_is_not_for_is_numpys(name):
    a = np.ones((3, 4), np.float32)
    for b in (2.0, np.ones(4, np.float32), np.ones((3, 4)), np.ones((4, 3), np.float32).T):
        assert PRIMITIVES[name].forward(a, b) is NotImplemented
        np.testing.assert_array_equal(getattr(ops, name)(a, b), getattr(np, name)(a, b))
